"""What a server has seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple


class Release(NamedTuple):
    """A server lets a worker begin a step, as far as one bucket is concerned.

    Attributes
    ----------
    bucket : int
        In the order of the backward pass. The last one holds the first layers: a worker begins
        its forward pass when it has that one.
    worker : int
        Its rank.
    step : int
        The step, counted from 0, that the worker may begin.
    slowest : int
        The steps that every worker which has not finished has pushed.
    """

    bucket: int
    worker: int
    step: int
    slowest: int


@dataclass
class ServerReport:
    """What one server has seen; each bucket that it keeps a part of counts by itself.

    Attributes
    ----------
    pushes : Counter of int
        By worker: how many gradients it has pushed (as many as its steps times the buckets).
    staleness : Counter of int
        How many pushes were computed from parameters that had had so many updates since.
    leads : Counter of int
        How often a worker began a step being so many steps ahead of the slowest.
    """

    pushes: Counter[int] = field(default_factory=Counter)
    staleness: Counter[int] = field(default_factory=Counter)
    leads: Counter[int] = field(default_factory=Counter)

    def __str__(self) -> str:
        """Return the staleness as a histogram, a line for each."""
        total = sum(self.staleness.values())
        lines = [f"{total} pushes by {len(self.pushes)} workers; updates that they had not seen:"]
        for updates, count in sorted(self.staleness.items()):
            share = count / total
            lines.append(f"{updates:6} {'#' * round(40 * share):40} {share:6.1%}")
        return "\n".join(lines)
