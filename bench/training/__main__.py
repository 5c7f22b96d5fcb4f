"""``python -m bench.training``; ``-h`` lists the options."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from pycoll.bench.environment import processor_name

from ..compare.launching import ROOT, SETTINGS, Program, last_words, run_programs
from ..compare.memcpy import usable_cores
from .job import Job, Report
from .modes import PEER, modes_on
from .options import OptionError, Options, parse_options
from .table import Runs, tabulate

WARMUPS = 5
VOCABULARY = 96
HEADS = 4
SETTINGS_OF_THE_OPTIMIZER = {"learning_rate": 1e-3, "weight_decay": 0.1}
#: Above what rounding makes of the losses of the first steps: runs that differ more are not alike.
TOLERANCE = 1e-3
#: For starting the ranks of a run, and for each of its steps.
STARTING_SECONDS, STEP_SECONDS = 60, 10
WRONG_OPTIONS, INCOMPLETE = 2, 1


def main(arguments: Sequence[str]) -> int:
    """Compare, and write a table; return the exit status."""
    try:
        options = parse_options(arguments, ROOT / "build" / "training")
        options.out.mkdir(parents=True, exist_ok=True)
    except (OptionError, OSError) as error:
        print(f"bench.training: {error}", file=sys.stderr)
        return WRONG_OPTIONS
    runs, problems = _measure(options)
    cores = usable_cores()
    head = (
        f"GPT of width {options.width}, {options.layers} layers, context {options.context}, "
        f"{VOCABULARY} tokens; {options.batch_size} sequences per step over all ranks; AdamW. "
        f"Thousand tokens per second: the median over {options.rounds} rounds, in which all took "
        f"turns, of the median step. {cores} core{'s' if cores > 1 else ''} ({processor_name()}). "
        f"Made by `python -m bench.training {shlex.join(arguments)}`.".replace(" `.", "`.")
    )
    text = tabulate(runs, options.batch_size * options.context, head, problems)
    print(text)
    (options.out / "table.md").write_text(text)
    results = [
        {"mode": mode, "ranks": ranks, "reports": [asdict(report) for report in reports]}
        for (mode, ranks), reports in runs.items()
    ]
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    return INCOMPLETE if problems else 0


def _measure(options: Options) -> tuple[Runs, list[str]]:
    everything = [
        (mode, ranks)
        for ranks in options.ranks
        for mode in [
            *(mode for mode in modes_on(ranks) if mode in options.modes),
            *([PEER] if options.peer else []),
        ]
    ]
    runs: Runs = {}
    problems: list[str] = []
    with tqdm(total=options.rounds * len(everything), unit="run", dynamic_ncols=True) as bar:
        for _ in range(options.rounds):
            for mode, ranks in everything:
                bar.set_description_str(f"{mode} on {ranks} ranks")
                outcome = _run(options, mode, ranks)
                if isinstance(outcome, str):
                    problems.append(f"{mode} on {ranks} ranks: {outcome}")
                else:
                    runs.setdefault((mode, ranks), []).append(outcome)
                bar.update()
    return runs, problems + _unlike(runs)


def _run(options: Options, mode: str, ranks: int) -> Report | str:
    """Return what a run reported, or why it did not."""
    interpreter = options.peer if mode == PEER and options.peer else Path(sys.executable)
    mpirun = shutil.which("mpirun", path=f"{interpreter.parent}{os.pathsep}{os.environ['PATH']}")
    if mpirun is None:
        return f"there is no mpirun beside {interpreter} or on PATH"
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        job = Job(
            mode=mode,
            ranks=ranks,
            model={
                "vocabulary": VOCABULARY,
                "context": options.context,
                "width": options.width,
                "heads": HEADS,
                "layers": options.layers,
            },
            batch_size=options.batch_size,
            warmups=WARMUPS,
            steps=options.steps,
            results=str(Path(folder) / "results.json"),
            options=SETTINGS_OF_THE_OPTIMIZER,
        )
        worker = "bench.training." + ("ddp_worker" if mode == PEER else "worker")
        command = [mpirun, "-n", str(ranks), str(interpreter), "-m", worker, job.to_text()]
        log = Path(folder) / "log"
        limit = STARTING_SECONDS + STEP_SECONDS * (WARMUPS + options.steps)
        failure = run_programs([Program(command, {**os.environ, **SETTINGS})], log, limit)
        if failure is not None:
            return f"{failure}: {last_words(log)}"
        return Report.read(Path(job.results))


def _unlike(runs: Runs) -> list[str]:
    """Name the runs whose losses are not those of the others: they did not do the same work."""
    losses = {key: reports[0].losses for key, reports in runs.items()}
    expected = [statistics.median(step) for step in zip(*losses.values(), strict=True)]
    return [
        f"{mode} on {ranks} ranks has other losses than most runs"
        for (mode, ranks), found in losses.items()
        if any(
            abs(a - b) > TOLERANCE * b
            for a, b in zip(found[:WARMUPS], expected[:WARMUPS], strict=True)
        )
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
