"""Lets the contestants take turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pycoll.bench.sizes import count_and_size

from .contestants import CONTESTANTS
from .launching import run_ranks
from .memcpy import copy_bandwidth
from .options import Options
from .results import Results, Run

ELEMENT_BYTES = 4


def length(options: Options, contestants: int) -> int:
    """Return the number of runs."""
    return len(options.collectives) * len(options.ranks) * options.rounds * contestants


def measure_all(
    results: Results,
    options: Options,
    interpreters: Mapping[str, Path],
    doing: Callable[[str], None],
    step: Callable[[], None],
) -> None:
    """Measure everything, into ``results``.

    Each round gives each contestant one run, in an order that moves on from round to round: what
    else the machine does meets all of them.

    Parameters
    ----------
    interpreters : mapping
        Of the contestants that there are.
    doing, step : callable
        Told what comes next, and that it is done.
    """
    names = list(interpreters)
    for collective in options.collectives:
        for ranks in options.ranks:
            for number in range(options.rounds):
                results.copy_bandwidths.append(copy_bandwidth())
                for turn in range(len(names)):
                    name = names[(turn + number) % len(names)]
                    doing(f"{collective}, {ranks} ranks: {CONTESTANTS[name].label}")
                    _measure(results, options, name, interpreters[name], collective, ranks, number)
                    results.write(options.results)
                    step()


def _measure(
    results: Results,
    options: Options,
    name: str,
    interpreter: Path,
    collective: str,
    ranks: int,
    number: int,
) -> None:
    contestant = CONTESTANTS[name]
    # Several small sizes may mean the same: no block is smaller than an element.
    sizes = dict(count_and_size(collective, size, ELEMENT_BYTES, ranks) for size in options.sizes)
    outcome = run_ranks(contestant, interpreter, ranks, collective, tuple(sizes), options.seconds)
    where = f"{contestant.label}, {collective} on {ranks} ranks"
    if outcome.failure is not None:
        results.note(f"{where}: {outcome.failure}")
    if outcome.report is None:
        return
    version, measured = outcome.report.version, outcome.report.measured
    if contestant.version not in version:
        results.note(f"{where}: {interpreter} has another library, {version}")
        return
    results.versions.setdefault(name, version)
    for each in measured:
        if each.wrong:
            results.note(f"{where}: wrong result at {sizes[each.count]} B")
    results.runs.append(
        Run(collective, ranks, name, number, tuple(sizes[m.count] for m in measured), measured)
    )
