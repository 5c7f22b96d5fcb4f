"""Learning rate that rises linearly and then falls along a half cosine.

Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017),
equation 5, without restarts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class WarmupCosine:
    """The learning rate as a function of the step: a value without state, so nothing to save.

    Attributes
    ----------
    peak : float
        Rate at the end of the warm-up.
    warmup : int
        Number of steps of the linear rise, which starts at ``peak / warmup``, not at 0.
    steps : int
        Number of steps in all; later steps get the final rate.
    final_fraction : float
        Final rate divided by ``peak``.
    """

    peak: float
    warmup: int
    steps: int
    final_fraction: float = 0.1

    def __call__(self, step: int) -> float:
        """Return the learning rate of ``step``, counted from 0."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        falling = max(self.steps - self.warmup, 1)
        progress = min((step - self.warmup) / falling, 1.0)
        cosine = (1 + math.cos(math.pi * progress)) / 2
        return self.peak * (self.final_fraction + (1 - self.final_fraction) * cosine)
