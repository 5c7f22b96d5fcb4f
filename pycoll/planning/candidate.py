"""What ``algorithm="auto"`` chooses from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pycoll import _core
from pycoll.planning.plans import Plan


@dataclass(frozen=True)
class Candidate:
    """One algorithm that can serve a call, with its best chunk.

    Attributes
    ----------
    algorithm : str
        Its name.
    chunk_bytes : int
        The chunk for which it is fastest; 0 when messages are best not cut.
    seconds : float or None
        Predicted time. All ranks must choose alike, whatever they know only by themselves: it is
        for the size rounded up to a power of two, and root 0. None where there are too many ranks
        to predict each algorithm; then a rule of thumb decides.
    chosen : bool
        Whether auto takes it.
    """

    algorithm: str
    chunk_bytes: int
    seconds: float | None
    chosen: bool


def candidates(plan: Plan) -> list[Candidate]:
    """Return all algorithms that can serve a plan's call, the one that auto takes first."""
    found = _core.candidates(plan.requests[0], plan.element_size, plan.model)
    return [
        Candidate(
            algorithm=name,
            chunk_bytes=chunk * plan.element_size,
            seconds=None if math.isnan(seconds) else seconds,
            chosen=position == 0,
        )
        for position, (name, chunk, seconds) in enumerate(found)
    ]
