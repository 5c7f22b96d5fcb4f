"""What ``algorithm="auto"`` chooses from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pycoll import _core
from pycoll.planning.plans import Plan, needs_arrays
from pycoll.tuning.file import Measured, Tuning


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
    measured : float or None
        Seconds that it took when `python -m pycoll tune` measured just this call.
    """

    algorithm: str
    chunk_bytes: int
    seconds: float | None
    chosen: bool
    measured: float | None = None


def candidates(plan: Plan, tuning: Tuning | None = None) -> list[Candidate]:
    """Return all algorithms that can serve a plan's call, the one that auto takes first.

    Parameters
    ----------
    tuning : Tuning, optional
        Where to look for measured times.
    """
    found = _core.candidates(plan.requests[0], plan.element_size, plan.model, plan.reach)
    measured = {} if tuning is None else _measured(plan, tuning)
    return [
        Candidate(
            algorithm=name,
            chunk_bytes=chunk * plan.element_size,
            seconds=None if math.isnan(seconds) else seconds,
            chosen=position == 0,
            measured=measured.get(name),
        )
        for position, (name, chunk, seconds) in enumerate(found)
    ]


def _measured(plan: Plan, tuning: Tuning) -> dict[str, float]:
    """Return the measured times of a plan's call, by algorithm."""
    model = plan.model
    wanted = (
        plan.ranks,
        plan.requests[0].nodes,
        model.cores_per_node,
        plan.collective,
        plan.dtype,
        plan.count,
    )

    def is_of_memory(one: Measured) -> bool:
        # Others gain nothing from where the arrays lie.
        is_registered = one.memory == "registered"
        return is_registered == (plan.reach == "mapped") or not needs_arrays(
            plan.collective, one.algorithm
        )

    return {
        one.algorithm: one.seconds
        for one in tuning.measured
        if wanted
        == (
            one.ranks,
            one.nodes,
            one.cores_per_node,
            one.collective,
            one.dtype,
            one.count,
        )
        and is_of_memory(one)
    }
