"""Cross-entropy of a softmax with the true classes, summed over all positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from pycoll.train.array_module import Array


class CrossEntropy:
    """The loss. It has no parameters and two inputs, hence is no `Layer`.

    It returns a *sum*, not a mean: with uneven shards only the sum over ranks, divided by the
    global number of tokens, is the loss of the global batch.
    """

    def __init__(self, xp: Any = np) -> None:
        self.xp = xp

    def forward(self, scores: Array, targets: Array) -> tuple[float, Any]:
        """Return the summed loss in nats, added up in float64, and what `backward` needs.

        Parameters
        ----------
        scores : Array
            Unnormalised log-probabilities, shape ``(..., classes)``.
        targets : Array
            True classes, integers of shape ``(...)``.
        """
        xp = self.xp
        rows = scores.reshape(-1, scores.shape[-1])
        chosen = (xp.arange(rows.shape[0]), targets.reshape(-1))
        # log(sum(exp(x))) - x[target], shifted by the greatest x so that no exp overflows
        shifted = rows - rows.max(axis=-1, keepdims=True)
        true_scores = shifted[chosen]
        xp.exp(shifted, out=shifted)
        sums = shifted.sum(axis=-1, keepdims=True)
        losses = xp.log(sums[:, 0]) - true_scores
        shifted /= sums
        return float(xp.sum(losses, dtype=np.float64)), (shifted, chosen, scores.shape)

    def backward(self, saved: Any, dy: float) -> Array:
        """Return the gradient with respect to ``scores`` for a gradient ``dy`` of the sum."""
        probabilities, chosen, shape = saved
        dscores: Array = probabilities
        dscores[chosen] -= 1
        dscores *= dy
        return dscores.reshape(shape)
