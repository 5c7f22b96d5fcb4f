"""A pipeline as text."""

from __future__ import annotations

import string

from pycoll.train.pipeline_parallel.plan import PipelinePlan
from pycoll.train.pipeline_parallel.step import Step

# A line of a terminal that is wide, but not unusual.
MOST_COLUMNS = 160


def label(step: Step) -> str:
    """Return ``F3`` for a forward pass of micro-batch 3, ``B3b`` for backward on chunk 1.

    A first chunk has no letter: most pipelines have no other.
    """
    chunk = "" if step.chunk == 0 else string.ascii_letters[step.chunk % 52]
    return f"{step.kind[0].upper()}{step.micro_batch}{chunk}"


def timeline_of(plan: PipelinePlan) -> str:
    """Return a line for each stage: what it computes when, and dots where it is idle.

    Times are drawn to scale, where the lines do not become too long; else it is the order only.
    """
    lengths = [
        (len(label(step)) + 1) / (end - start)
        for steps, times in zip(plan.steps, plan.simulation.timeline, strict=True)
        for step, (start, end) in zip(steps, times, strict=True)
        if not step.is_message and end > start
    ]
    scale = max(lengths, default=0.0)
    is_to_scale = plan.simulation.seconds * scale <= MOST_COLUMNS and bool(lengths)
    lines = []
    for stage, steps in enumerate(plan.steps):
        line = ""
        for step, (start, end) in zip(steps, plan.simulation.timeline[stage], strict=True):
            if step.is_message:
                continue
            if is_to_scale:
                line += "." * (round(start * scale) - len(line))
                width = round(end * scale) - len(line)
                line += f"{label(step):{'-' if step.kind == 'forward' else '='}<{width}}"
            else:
                line += f"{label(step)} "
        if is_to_scale:
            line += "." * (round(plan.simulation.seconds * scale) - len(line))
        lines.append(f"stage {stage:<3} {line.rstrip()}")
    return "\n".join(lines) + "\n"


def steps_of(plan: PipelinePlan, stage: int) -> str:
    """Return all steps of a stage, messages too: number, start and end, what."""
    lines = [f"stage {stage} of {plan.stages}:", f"{'step':>6} {'from':>9} {'to':>9}  what"]
    timeline = plan.simulation.timeline[stage]
    for number, (step, (start, end)) in enumerate(zip(plan.steps[stage], timeline, strict=True)):
        lines.append(f"{number:6} {start:9.4g} {end:9.4g}  {step}")
    return "\n".join(lines) + "\n"
