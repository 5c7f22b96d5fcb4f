"""``python -m bench.compare``; ``-h`` lists the options."""

from __future__ import annotations

import datetime
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from pycoll.bench.environment import processor_name

from .campaign import length, measure_all
from .contestants import CONTESTANTS
from .environments import EnvironmentMissingError, interpreter_for
from .memcpy import usable_cores
from .options import OptionError, Options, parse_options
from .picture import draw
from .results import Results
from .table import tabulate

WRONG_OPTIONS = 2
INCOMPLETE = 1


def main(arguments: Sequence[str]) -> int:
    """Compare, and write table and pictures; return the exit status."""
    try:
        options = parse_options(arguments)
        options.out.mkdir(parents=True, exist_ok=True)
        results = (
            _compare(options, arguments) if options.again is None else Results.read(options.again)
        )
    except (OptionError, ValueError, OSError) as error:
        print(f"bench.compare: {error}", file=sys.stderr)
        return WRONG_OPTIONS
    table = tabulate(results)
    print(table)
    written = [options.out / "table.md"]
    written[0].write_text(table)
    for collective in results.collectives():
        if collective != "barrier":  # it has no sizes to draw over
            written.append(options.out / f"{collective}.png")
            draw(results, collective, written[-1])
    print("written:", *written)
    return INCOMPLETE if results.problems else 0


def _compare(options: Options, arguments: Sequence[str]) -> Results:
    cores = usable_cores()
    results = Results(
        command=f"python -m bench.compare {shlex.join(arguments)}".strip(),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        machine=f"{cores} core{'s' if cores > 1 else ''} ({processor_name()})",
    )
    if os.getloadavg()[0] > cores / 2:
        print("other programs keep this machine busy: wait for them, or distrust", file=sys.stderr)
    interpreters = _interpreters(options, results)
    if not interpreters:
        raise OptionError(f"there is nobody to measure: {'; '.join(results.left_out.values())}")
    with tqdm(total=length(options, len(interpreters)), unit="run", dynamic_ncols=True) as bar:
        try:
            measure_all(results, options, interpreters, bar.set_description_str, bar.update)
        except KeyboardInterrupt:
            bar.write("interrupted; this is what was measured until now", file=sys.stderr)
            results.note("interrupted before everything was measured")
            results.write(options.results)
    return results


def _interpreters(options: Options, results: Results) -> dict[str, Path]:
    """Return the interpreters of the contestants that there are; note why others are missing."""
    interpreters = {}
    for name in options.contestants:
        contestant = CONTESTANTS[name]
        print(f"{contestant.label}: ", end="", file=sys.stderr, flush=True)
        try:
            interpreters[name] = interpreter_for(contestant, options.pythons, options.environments)
        except EnvironmentMissingError as error:
            results.left_out[name] = str(error)
        print(
            interpreters.get(name, "left out: " + results.left_out.get(name, "")), file=sys.stderr
        )
    return interpreters


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
