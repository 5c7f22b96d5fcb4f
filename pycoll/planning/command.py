"""``python -m pycoll plan``: one plan, in words, numbers and pictures."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pycoll import _core
from pycoll.layout import parse_layout
from pycoll.planning.bandwidth import BLOCKWISE
from pycoll.planning.candidate import candidates
from pycoll.planning.model_words import model_in_words
from pycoll.planning.plans import REACH, Plan, plan
from pycoll.planning.quantities import format_bytes, format_seconds, parse_size
from pycoll.planning.traffic import traffic_in_words
from pycoll.tuning.file import Tuning, load
from pycoll.tuning.situation import Situation

# Longer tables scroll off a screen.
MOST_STEPS = 60

PROVEN = (
    "proven for all interleavings: it ends, every rank gets the right result, nothing is read too "
    "early or overwritten too soon"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    names = ", ".join(_core.COLLECTIVES)
    add("collective", choices=_core.COLLECTIVES, metavar="COLLECTIVE", help=names)
    add(
        "--algorithm",
        default="auto",
        metavar="NAME",
        help="auto, or one that `python -m pycoll info` lists",
    )
    add("--ranks", type=int, default=8, help="how many (default: 8)")
    add(
        "--bytes",
        default="1M",
        metavar="SIZE",
        help="of the vector, or of the blocks of all ranks; K, M and G are powers of 1024 "
        "(default: 1M)",
    )
    add("--dtype", default="float32", help="of the elements (default: float32)")
    add("--root", type=int, default=0, help="default: 0")
    add("--chunk", metavar="SIZE", help="of messages, if the algorithm pipelines; else chosen")
    add("--in-place", action="store_true", help="input and output share memory")
    add(
        "--memory",
        choices=tuple(REACH),
        help="of the ranks of a node: none is shared, arrays are hidden, or plain (those of other "
        "libraries; the kernel copies between them), or registered (NumPy's) (default: what the "
        "algorithm needs, and registered for auto)",
    )
    add(
        "--nodes",
        metavar="LAYOUT",
        help="ranks of each node, such as 2x4 or 3+5: messages between nodes cost more (default: "
        "one node)",
    )
    add(
        "--cores-per-node",
        type=int,
        metavar="N",
        help="ranks that outnumber these take turns (default: those of this machine if "
        "`python -m pycoll tune` has measured it, else a core each)",
    )
    add("--rank", type=int, help="print the steps of this rank only")
    add(
        "--why",
        action="store_true",
        help="print what auto chooses from, with predicted times, and measured ones if `python -m "
        "pycoll tune` has measured this call",
    )
    add("--svg", type=Path, metavar="FILE", help="draw who sends what to whom when")
    add("--json", action="store_true", help="print it for programs to read")


def run(options: argparse.Namespace) -> int:
    """Plan and print.

    Returns
    -------
    int
        1 when the schedules turn out to be wrong, else 0.

    Raises
    ------
    ValueError
        When the arguments make no sense.
    """
    tuning = load() or Tuning()
    wanted = _plan_from(options, tuning)
    if options.rank is not None and not 0 <= options.rank < wanted.ranks:
        raise ValueError(f"'rank' is {options.rank}; it must be from 0 to {wanted.ranks - 1}")
    if options.svg is not None and wanted.failure is None:
        options.svg.write_text(wanted.svg(), encoding="utf-8")
    if options.json:
        json.dump(_for_programs(wanted, options.rank, tuning), sys.stdout, indent=2)
        print()
    else:
        _print(wanted, options, tuning)
    return 0 if wanted.failure is None else 1


def _plan_from(options: argparse.Namespace, tuning: Tuning) -> Plan:
    size = 0 if options.collective == "barrier" else parse_size(options.bytes)
    element_size = _core.DTYPE_SIZES.get(options.dtype, 1)
    if size % element_size:
        raise ValueError(f"'bytes' is {size}, no whole number of {options.dtype} elements")
    # Blocks that do not come out even are cut down to equal ones, as nccl-tests does.
    blocks = max(options.ranks, 1) if options.collective in BLOCKWISE else 1
    nodes = _nodes_from(options)
    cores = _cores_of(tuning) if options.cores_per_node is None else options.cores_per_node
    # What is out of range, plan() says.
    costs = tuning.costs_for(Situation(max(options.ranks, 0), nodes, max(cores, 0)))
    return plan(
        options.collective,
        ranks=options.ranks,
        count=size // (element_size * blocks),
        dtype=options.dtype,
        algorithm=options.algorithm,
        root=options.root,
        chunk_bytes=None if options.chunk is None else parse_size(options.chunk),
        in_place=options.in_place,
        memory=options.memory,
        model=costs.model(nodes, cores),
    )


def _nodes_from(options: argparse.Namespace) -> list[int]:
    if options.nodes is None:
        return []
    try:
        return parse_layout(options.nodes, options.ranks)
    except ValueError as error:
        raise ValueError(f"'nodes' is {error}") from None


def _cores_of(tuning: Tuning) -> int:
    cores = tuning.machine.get("cores", 0)
    return cores if isinstance(cores, int) else 0


def _print(shown: Plan, options: argparse.Namespace, tuning: Tuning) -> None:
    for name, value in _summary(shown, options):
        print(f"{name:<10}  {value}")
    print()
    if options.why:
        _print_candidates(shown, tuning)
    steps = sum(len(schedule.steps) for schedule in shown.schedules)
    if options.rank is not None:
        print(shown.table(options.rank))
    elif steps <= MOST_STEPS:
        print(shown.table())
    else:
        print(shown.table(0))
        print(f"The ranks have {steps} steps in all; --rank R shows those of another one.")
    if options.svg is not None and shown.failure is None:
        print(f"Drawn to {options.svg}")


def _summary(shown: Plan, options: argparse.Namespace) -> list[tuple[str, str]]:
    what = f"{shown.collective} over {shown.ranks} rank(s)"
    if shown.collective != "barrier":
        each = " in each rank's block" if shown.collective in BLOCKWISE else ""
        what += f", {format_bytes(shown.size)} of {shown.dtype} ({shown.count} elements{each})"
    description = shown.description
    chosen = " (chosen by auto)" if options.algorithm == "auto" else ""
    if shown.chunk:
        chosen += f", in chunks of {format_bytes(shown.chunk * shown.element_size)}"
    price = shown.price
    time = format_seconds(price.seconds)
    if shown.size and price.seconds:
        time += (
            f": algbw {shown.algorithm_bandwidth / 1e9:.3g} GB/s, "
            f"busbw {shown.bus_bandwidth / 1e9:.3g} GB/s"
        )
    return [
        ("call", what),
        ("algorithm", f"{shown.algorithm}{chosen}"),
        ("cost", description.cost),
        ("source", description.source),
        ("verified", PROVEN if shown.failure is None else f"WRONG: {shown.failure}"),
        ("predicted", time),
        ("traffic", traffic_in_words(shown)),
        ("model", "; ".join(model_in_words(shown.model.within(shown.reach), shown.ranks))),
    ]


def _print_candidates(shown: Plan, tuning: Tuning) -> None:
    found = candidates(shown, tuning)
    if found[0].seconds is None:
        print("too many ranks to predict each algorithm; auto goes by a rule of thumb:")
    else:
        print("auto chooses from (for the size rounded up to a power of two):")
    width = max(len(candidate.algorithm) for candidate in found)
    is_measured = any(candidate.measured is not None for candidate in found)
    if is_measured:
        print(f"    {'':<{width}} {'predicted':>10} {'measured':>10}")
    for candidate in found:
        mark = "->" if candidate.chosen else "  "
        time = "" if candidate.seconds is None else format_seconds(candidate.seconds)
        chunk = f"chunks of {format_bytes(candidate.chunk_bytes)}" if candidate.chunk_bytes else ""
        if is_measured:
            seen = candidate.measured
            time = f"{time:>9} {'-' if seen is None else format_seconds(seen):>10}"
        print(f" {mark} {candidate.algorithm:<{width}}  {time:>8}  {chunk}".rstrip())
    if tuning.machine:
        print(f"(measured {tuning.machine.get('date', '')}, {tuning.machine.get('mpi', '')})")
    print()


def _for_programs(shown: Plan, rank: int | None, tuning: Tuning) -> dict[str, Any]:
    """Return a plan as values that JSON has; times in seconds, lengths in elements or bytes."""
    price = shown.price
    timeline = price.timeline
    ranks = range(shown.ranks) if rank is None else [rank]
    return {
        "collective": shown.collective,
        "algorithm": shown.algorithm,
        "ranks": shown.ranks,
        "root": shown.root,
        "dtype": shown.dtype,
        "count": shown.count,
        "bytes": shown.size,
        "chunk": shown.chunk,
        "reach": shown.reach,
        "meets_first": shown.schedules[0].meets_first,
        "runs_ahead": shown.schedules[0].runs_ahead,
        "cost": shown.description.cost,
        "source": shown.description.source,
        "failure": shown.failure,
        "seconds": price.seconds,
        "algbw": shown.algorithm_bandwidth,
        "busbw": shown.bus_bandwidth,
        "messages": price.messages,
        "bytes_sent": price.bytes_sent,
        "bytes_folded": price.bytes_folded,
        "total_bytes": price.total_bytes,
        "candidates": [vars(candidate) for candidate in candidates(shown, tuning)],
        "schedules": [
            {
                "rank": each,
                "scratch": shown.schedules[each].scratch_count,
                "stage": shown.schedules[each].stage_count,
                "steps": [
                    _step_for_programs(step, interval)
                    for step, interval in zip(
                        shown.schedules[each].steps, timeline[each], strict=True
                    )
                ],
            }
            for each in ranks
        ],
    }


def _step_for_programs(step: _core.Step, interval: tuple[float, float]) -> dict[str, Any]:
    def place(slice_: _core.Slice) -> dict[str, Any]:
        found = {"buffer": slice_.buffer, "offset": slice_.offset, "count": slice_.count}
        return found if slice_.owner is None else {"owner": slice_.owner, **found}

    return {
        "kind": step.kind,
        "peer": step.peer,
        "dst": None if step.dst is None else place(step.dst),
        "srcs": [place(src) for src in step.srcs],
        "after": step.after,
        "finish": step.finish,
        "message_first": step.message_first,
        "start": interval[0],
        "end": interval[1],
    }
