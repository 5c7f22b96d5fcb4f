"""``mpirun -n 4 python -m pycoll.bench COLLECTIVE ...``; ``-h`` lists the options."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpi4py import MPI

from pycoll.bench.environment import describe_environment, machine_line
from pycoll.bench.gpu_memory import gpu_memory
from pycoll.bench.measurement import Measurement, measure, operations
from pycoll.bench.memory import HostMemory, Memory
from pycoll.bench.nccl import Nccl, make_nccl
from pycoll.bench.option_error import OptionError
from pycoll.bench.options import Options, make_parser, parse_options
from pycoll.bench.progress import Progress
from pycoll.bench.table import Table, summary
from pycoll.communicator import Communicator

WRONG_VALUES = 1
WRONG_OPTIONS = 2
#: What is above and below the table where the times mean nothing.
NOT_A_MEASUREMENT = "# NOT A MEASUREMENT: a test, maybe on a simulated GPU"


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark on all ranks; return the exit status, the same on all."""
    world = MPI.COMM_WORLD
    if {"-h", "--help"} & set(arguments):
        if world.rank == 0:
            print(make_parser().format_help(), end="")
        return 0
    try:
        options = parse_options(arguments, world.size)
        _require_writable(options, world)
        memory = _memory(options, world)
        nccl = make_nccl(world, memory) if options.against == "nccl" else None
    except OptionError as error:
        if world.rank == 0:
            print(f"pycoll.bench: {error}", file=sys.stderr)
        return WRONG_OPTIONS

    with Communicator(world) as comm:
        environment = describe_environment(comm, arguments, memory)
        environment["not_a_measurement"] = not options.measures
        measurements = _run(comm, world, options, environment, memory, nccl)
        if comm.rank == 0:
            _report(measurements, environment, options)
    if nccl is not None:
        nccl.close()
    return WRONG_VALUES if any(measurement.wrong for measurement in measurements) else 0


def _memory(options: Options, world: MPI.Intracomm) -> Memory:
    """Return what arrays lie in. Collective."""
    if options.device == "cpu":
        return HostMemory()
    local = world.Split_type(MPI.COMM_TYPE_SHARED)
    number = local.rank
    local.Free()
    memory: Memory | None = None
    problem = None
    try:
        memory = gpu_memory(options.library, number, measures=options.measures)
    except OptionError as error:
        problem = f"rank {world.rank}: {error}" if world.size > 1 else str(error)
    problems = [text for text in world.allgather(problem) if text is not None]
    libraries = set(world.allgather(None if memory is None else memory.library))
    if memory is None or problems:
        raise OptionError(problems[0])
    if len(libraries) > 1:
        raise OptionError("ranks have different libraries of arrays: choose an --array-library")
    return memory


def _run(
    comm: Communicator,
    world: MPI.Intracomm,
    options: Options,
    environment: dict[str, Any],
    memory: Memory,
    nccl: Nccl | None,
) -> list[Measurement]:
    everything = list(operations(options, comm.size))
    table = Table(options.placements, against=options.against, on_gpu=options.device == "cuda")
    measured: list[Measurement] = []
    speaks = comm.rank == 0
    if speaks:
        if not options.measures:
            print(NOT_A_MEASUREMENT)
        print(f"# {machine_line(environment)}", f"# {environment['command']}", sep="\n")
        print(*table.header(), sep="\n", flush=True)
    with Progress(len(everything), shown=speaks and not options.quiet) as progress:
        placements: list[list[Measurement]] = []
        for size, operation in everything:
            progress.doing(f"{options.collective}, {size} B")
            placements.append(measure(comm, world, operation, size, options, memory, nccl))
            progress.step()
            if len(placements) < len(options.placements):
                continue
            for line in zip(*placements, strict=True):
                measured.extend(line)
                if speaks:
                    progress.write(table.line(line))
            placements.clear()
    return measured


def _report(measurements: list[Measurement], environment: dict[str, Any], options: Options) -> None:
    print(*summary(measurements), sep="\n")
    if not options.measures:
        print(NOT_A_MEASUREMENT)
    sys.stdout.flush()
    if options.json is not None:
        results = [measurement.as_record() for measurement in measurements]
        text = json.dumps({"environment": environment, "results": results}, indent=1)
        options.json.write_text(text + "\n")
    if options.plot is not None:
        from pycoll.bench.plot import plot

        plot(measurements, environment, options.plot)


def _require_writable(options: Options, world: MPI.Intracomm) -> None:
    """Raise on all ranks what rank 0, which writes the files, finds wrong with them."""
    problem = None
    if world.rank == 0:
        for option, path in (("--json", options.json), ("--plot", options.plot)):
            problem = problem or _problem_with(option, path)
        if options.plot is not None and importlib.util.find_spec("matplotlib") is None:
            problem = problem or "--plot needs matplotlib: pip install matplotlib"
    problem = world.bcast(problem)
    if problem is not None:
        raise OptionError(problem)


def _problem_with(option: str, path: Path | None) -> str | None:
    if path is None:
        return None
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        return f"{option}: cannot write {path}; name a file in a folder that exists"
    if option == "--plot" and path.suffix not in (".png", ".svg", ".pdf"):
        return f"--plot: {path} must end in .png, .svg or .pdf"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
