"""A plan as text: one line for each step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pycoll.planning.plans import Plan


def table_of(plan: Plan, ranks: Iterable[int]) -> str:
    """Return the steps of some ranks: number, predicted start and end in µs, what, after which."""
    timeline = plan.price.timeline
    return "\n".join(_rank_table(plan, rank, timeline[rank]) for rank in ranks)


def _rank_table(plan: Plan, rank: int, intervals: list[tuple[float, float]]) -> str:
    schedule = plan.schedules[rank]
    lines = [
        f"rank {rank} of {plan.ranks}: input {schedule.input_count}, output "
        f"{schedule.output_count}, scratch {schedule.scratch_count} elements"
        + (f", stage {schedule.stage_count}" if schedule.stage_count else "")
        + (", after all have entered" if schedule.meets_first else "")
        + (", may run ahead" if schedule.runs_ahead else "")
    ]
    if not schedule.steps:
        return f"{lines[0]}\n  nothing to do\n"
    whats = [repr(step) for step in schedule.steps]
    width = max(map(len, whats))
    lines.append(f"{'step':>6} {'from':>9} {'to µs':>9}  {'what':<{width}}  after")
    for number, (step, what, (start, end)) in enumerate(
        zip(schedule.steps, whats, intervals, strict=True)
    ):
        after = ", ".join(map(str, step.after)) or "-"
        times = f"{start * 1e6:9.1f} {end * 1e6:9.1f}"
        lines.append(f"{number:6} {times}  {what:<{width}}  {after}")
    return "\n".join(lines) + "\n"
