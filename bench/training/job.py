"""What the ranks of a run are told, and what they report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pycoll.train import GPTConfig


@dataclass(frozen=True)
class Job:
    """One training run that is measured.

    Attributes
    ----------
    mode : str
        Of `modes.MODES`, or "ddp".
    batch_size : int
        Sequences per step, over all ranks.
    warmups, steps : int
        Untimed and timed steps.
    results : str
        The file that rank 0 writes its `Report` to.
    """

    mode: str
    ranks: int
    model: dict[str, Any]
    batch_size: int
    warmups: int
    steps: int
    results: str
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> GPTConfig:
        """Return the shape of the model."""
        return GPTConfig(**self.model)

    def to_text(self) -> str:
        """Return a text for a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Job:
        """Return the job of a text."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Report:
    """What one run gave.

    Attributes
    ----------
    seconds : float
        For one step: the median, on the slowest rank.
    losses : list of float
        Of all steps, nats per token.
    all_reduce_seconds : float or None
        What reducing all gradients takes when nothing else goes on.
    hidden_share : float or None
        How much of the gradients was reduced before the backward pass had ended, on the rank where
        it was least.
    """

    version: str
    seconds: float
    losses: list[float]
    all_reduce_seconds: float | None = None
    hidden_share: float | None = None

    def write(self, path: Path) -> None:
        """Write the report to a file."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read what `write` wrote."""
        return cls(**json.loads(path.read_text()))
