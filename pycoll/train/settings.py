"""What a training run is, beside its text and its model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pycoll.train.data_parallel.wire import Precision
from pycoll.train.layers.parameter import Parameter
from pycoll.train.optim.adamw import AdamW
from pycoll.train.optim.optimizer import Optimizer
from pycoll.train.optim.sgd import SGD
from pycoll.train.optim.warmup_cosine import WarmupCosine


@dataclass(frozen=True)
class Settings:
    """Numbers that decide the course of a run; equal on all ranks.

    Attributes
    ----------
    steps : int
        Length of the whole run, which the learning-rate schedule depends on.
    batch_size : int
        Sequences per step over all ranks together.
    learning_rate : float
        At the end of the warm-up.
    bucket_bytes : int
        Size of a gradient bucket; it changes the order of additions, hence the last bits.
    zero, precision
        See `DataParallel`.
    micro_batches : int
        Into how many parts each rank's share of a batch is cut. Their gradients are added up: that
        takes less memory, and lets the stages of a pipeline work at the same time.
    max_norm : float
        Gradients of a greater global norm are scaled down to it.
    local_steps : int
        Above 0, copies of the model train by themselves, and agree on their parameters after every
        so many steps; see `LocalSGD`.
    outer_learning_rate, outer_momentum : float
        Of what they agree on.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup: int = 0
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = 0.0
    momentum: float = 0.9
    bucket_bytes: int = 1 << 20
    zero: int = 0
    precision: Precision = "full"
    micro_batches: int = 1
    max_norm: float = math.inf
    local_steps: int = 0
    outer_learning_rate: float = 0.7
    outer_momentum: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "bucket_bytes", "micro_batches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("warmup", "weight_decay", "local_steps", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative: {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")
        if not self.max_norm > 0:
            raise ValueError(f"max_norm must be above 0, not {self.max_norm}")
        if self.local_steps and self.zero:
            raise ValueError(
                "copies that train by themselves have no optimizer to share: zero must be 0 with "
                "local_steps"
            )
        if self.local_steps and self.max_norm < math.inf:
            raise ValueError(
                "there is no global norm of copies that train by themselves: leave out max_norm "
                "with local_steps"
            )
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), not {self.momentum}")
        if self.zero not in (0, 1):
            raise ValueError(f"there is no zero stage {self.zero}; choose 0 or 1")
        if self.precision not in ("full", "bfloat16"):
            raise ValueError(f"unknown precision {self.precision!r}; choose 'full' or 'bfloat16'")
        if self.optimizer not in ("adamw", "sgd"):
            raise ValueError(f"unknown optimizer {self.optimizer!r}; choose 'adamw' or 'sgd'")

    def make_optimizer(self, parameters: Sequence[tuple[str, Parameter]]) -> Optimizer:
        """Return the optimizer that these settings ask for."""
        if self.optimizer == "sgd":
            return SGD(parameters, momentum=self.momentum, weight_decay=self.weight_decay)
        return AdamW(parameters, weight_decay=self.weight_decay)

    def make_schedule(self) -> WarmupCosine:
        """Return the learning rate as a function of the step."""
        return WarmupCosine(self.learning_rate, self.warmup, self.steps)
