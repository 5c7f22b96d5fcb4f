"""``python -m pycoll pipeline``: what the stages of a pipeline do, in words and pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from pycoll.train.pipeline_parallel.picture import draw_svg
from pycoll.train.pipeline_parallel.plan import PipelinePlan, plan_pipeline
from pycoll.train.pipeline_parallel.png import write_png
from pycoll.train.pipeline_parallel.schedules import SCHEDULES
from pycoll.train.pipeline_parallel.simulation import Costs
from pycoll.train.pipeline_parallel.table import steps_of, timeline_of

PROVEN = (
    "proven: every forward and backward pass runs once, on just its input; messages match in "
    "order; no stage waits for ever"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add(
        "--schedule", default="1f1b", metavar="NAME", help=f"{', '.join(SCHEDULES)} (default: 1f1b)"
    )
    add("--stages", type=int, default=4, help="how many ranks share the layers (default: 4)")
    add("--micro-batches", type=int, default=8, help="into how many a batch is cut (default: 8)")
    add(
        "--chunks",
        type=int,
        help="parts of the model per stage (default: 2 if interleaved, else 1)",
    )
    add("--forward", type=float, default=1.0, metavar="TIME", help="of a stage (default: 1)")
    add("--backward", type=float, default=2.0, metavar="TIME", help="of a stage (default: 2)")
    add("--message", type=float, default=0.0, metavar="TIME", help="of one (default: 0)")
    add("--stage", type=int, help="print all steps of this stage, messages too")
    add("--svg", type=Path, metavar="FILE", help="draw what each stage does when")
    add("--png", type=Path, metavar="FILE", help="the same picture, by matplotlib")


def run(options: argparse.Namespace) -> int:
    """Plan and print.

    Returns
    -------
    int
        0: a schedule that is wrong never gets this far.

    Raises
    ------
    ValueError
        When the arguments make no sense.
    """
    default = 2 if options.schedule == "interleaved" else 1
    plan = plan_pipeline(
        options.schedule,
        options.stages,
        options.micro_batches,
        default if options.chunks is None else options.chunks,
        Costs(options.forward, options.backward, options.message),
    )
    if options.stage is not None and not 0 <= options.stage < plan.stages:
        raise ValueError(f"'stage' is {options.stage}; it must be from 0 to {plan.stages - 1}")
    for name, value in _summary(plan):
        print(f"{name:<12}{value}")
    print()
    print(timeline_of(plan) if options.stage is None else steps_of(plan, options.stage))
    if plan.chunks > 1 and options.stage is None:
        print("F3 is the forward pass of micro-batch 3 on a stage's first chunk, F3b on its second")
    if options.svg is not None:
        options.svg.write_text(draw_svg(plan), encoding="utf-8")
        print(f"Drawn to {options.svg}")
    if options.png is not None:
        write_png(plan, options.png)
        print(f"Drawn to {options.png}")
    return 0


def _summary(plan: PipelinePlan) -> list[tuple[str, str]]:
    simulation = plan.simulation
    chunks = f" of {plan.chunks} chunks" if plan.chunks > 1 else ""
    lines = [
        ("pipeline", f"{plan.schedule} over {plan.stages} stage(s){chunks}, "
                     f"{plan.micro_batches} micro-batch(es)"),
        ("purpose", plan.description.purpose),
        ("source", plan.description.source),
        ("verified", PROVEN),
        ("predicted", f"time {simulation.seconds:.4g}, bubble {100 * simulation.bubble:.1f} % of "
                      f"it (without messages {100 * plan.ideal_bubble:.1f} %)"),
        ("messages", f"{sum(simulation.messages)} in all, at most {max(simulation.messages)} sent "
                     "by a stage"),
    ]  # fmt: skip
    if plan.description.trains:
        unit = "forward passes of a chunk" if plan.chunks > 1 else "micro-batches"
        peaks = ", ".join(map(str, simulation.peaks))
        lines.append(("activations", f"of at most {peaks} {unit} kept by stages 0, 1, ..."))
    return lines
