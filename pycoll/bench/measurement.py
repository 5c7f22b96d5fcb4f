"""From an operation to what was measured of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from typing import Any

from mpi4py import MPI

from pycoll import _core
from pycoll.bench.bandwidth import algorithm_bandwidth, bus_bandwidth
from pycoll.bench.contestants import Call, Choice, mpi_call, pycoll_call
from pycoll.bench.memory import Memory
from pycoll.bench.nccl import Nccl
from pycoll.bench.operands import Operands, Operation
from pycoll.bench.options import WITH_ALGORITHM, Options
from pycoll.bench.sizes import count_and_size
from pycoll.bench.timing import Effort, Ratio, Timing, ratio, time_in_turns
from pycoll.communicator import Communicator


@dataclass(frozen=True)
class Measurement:
    """What was measured of pycoll with one algorithm, and of another library beside it.

    Attributes
    ----------
    size : int
        Bytes, as nccl-tests counts them.
    choice : Choice or None
        What was really used; None where there is no choice.
    is_auto : bool
        Whether ``algorithm="auto"`` uses just this.
    wrong, reference_wrong : int or None
        Wrong elements on all ranks together; None when nothing was checked.
    against : {"mpi", "nccl"} or None
        The other library.
    reference : Timing or None
        None when the other library was not measured, or cannot do this.
    """

    operation: Operation
    size: int
    ranks: int
    choice: Choice | None
    is_auto: bool
    timing: Timing
    wrong: int | None
    against: str | None = None
    reference: Timing | None = None
    reference_wrong: int | None = None

    @property
    def algbw(self) -> float:
        """Return GB/s."""
        return algorithm_bandwidth(self.size, self.timing.median)

    @property
    def busbw(self) -> float:
        """Return GB/s."""
        return self.busbw_of(self.timing)

    def busbw_of(self, timing: Timing) -> float:
        """Return the GB/s of the same operation in another time."""
        return bus_bandwidth(self.operation.collective, self.size, timing.median, self.ranks)

    @property
    def ratio(self) -> Ratio | None:
        """Return pycoll's time over that of the other library."""
        return None if self.reference is None else ratio(self.timing, self.reference)

    def as_record(self) -> dict[str, Any]:
        """Return everything as plain values; times in microseconds, bandwidths in GB/s."""
        operation = asdict(self.operation)
        record: dict[str, Any] = {
            "collective": operation.pop("collective"),
            "size": self.size,
            "count": operation.pop("count"),
            "type": operation.pop("dtype"),
            "redop": operation.pop("op"),
            **operation,
            "algorithm": None if self.choice is None else self.choice.algorithm,
            "chunk_bytes": None if self.choice is None else self.choice.chunk_bytes,
            "auto": self.is_auto,
            **_timing_record(self.timing),
            "algbw": self.algbw,
            "busbw": self.busbw,
            "wrong": self.wrong,
            "mpi": None,
            "nccl": None,
            "ratio": None,
        }
        if self.against is not None and self.reference is not None and self.ratio is not None:
            record[self.against] = {
                **_timing_record(self.reference),
                "algbw": algorithm_bandwidth(self.size, self.reference.median),
                "busbw": self.busbw_of(self.reference),
                "wrong": self.reference_wrong,
            }
            record["ratio"] = asdict(self.ratio)
        return record


def _timing_record(timing: Timing) -> dict[str, Any]:
    return {
        "time": timing.median * 1e6,
        "times": [seconds * 1e6 for seconds in timing.seconds],
        "device_time": timing.device_median * 1e6 if timing.device_seconds else None,
        "device_times": [seconds * 1e6 for seconds in timing.device_seconds],
        "iterations": timing.iterations,
    }


def operations(options: Options, ranks: int) -> Iterator[tuple[int, Operation]]:
    """Yield what the options ask for, with its size; placements of one operation in a row."""
    for dtype, op, root in product(options.dtypes, options.ops, options.roots):
        if op is not None and not _core.supports(op, dtype):
            continue
        done = set()
        for wanted in options.sizes:
            element = _core.DTYPE_SIZES[dtype]
            count, size = count_and_size(options.collective, wanted, element, ranks)
            if size in done:  # sizes below one element per block are alike
                continue
            done.add(size)
            for memory, in_place in product(options.memories, options.placements):
                yield (
                    size,
                    Operation(options.collective, dtype, op, root, memory, count, in_place),
                )


def measure(
    comm: Communicator,
    mpi: MPI.Intracomm,
    operation: Operation,
    size: int,
    options: Options,
    memory: Memory,
    nccl: Nccl | None = None,
) -> list[Measurement]:
    """Measure an operation with every algorithm (and chunk) of the options. Collective."""
    registered = partial(memory.registered, comm)
    empty = registered if operation.memory == "registered" else memory.private
    operands = Operands(operation, comm.rank, comm.size, memory, empty)
    choices = _choices(comm, operation, options)
    automatic = _automatic(comm, operation, options) if choices[0] is not None else None
    calls = [pycoll_call(comm, operation, operands, choice) for choice in choices]
    reference = mpi_call(mpi, operation, operands) if options.against == "mpi" else None
    if nccl is not None:
        reference = nccl.call(operation, operands)
    everything = calls if reference is None else [*calls, reference]

    operands.fill()
    wrong = [_count_wrong(call, operands, mpi, options.checks) for call in everything]
    effort = Effort(options.iterations, options.rounds, options.warmups, options.seconds)
    timings = time_in_turns([call.run for call in everything], mpi, effort, memory.clock())
    return [
        Measurement(
            operation=operation,
            size=size,
            ranks=comm.size,
            choice=choice,
            is_auto=choice is not None and choice == automatic,
            timing=timings[i],
            wrong=wrong[i],
            against=options.against,
            reference=None if reference is None else timings[-1],
            reference_wrong=None if reference is None else wrong[-1],
        )
        for i, choice in enumerate(choices)
    ]


def _choices(
    comm: Communicator, operation: Operation, options: Options
) -> list[Choice] | list[None]:
    """Return what is to be measured, each once, as pycoll will carry it out."""
    if operation.collective not in WITH_ALGORITHM:
        return [None]
    possible: dict[Choice, None] = {}
    for pair in product(options.algorithms, options.chunks):
        try:
            resolved = _resolve(comm, operation, Choice(*pair))
            possible[Choice(*pair) if options.device == "cuda" else resolved] = None
        except ValueError:
            # Of several, those that these ranks or this size cannot use are left out.
            if len(options.algorithms) == 1:
                raise
    return list(possible)


def _automatic(comm: Communicator, operation: Operation, options: Options) -> Choice:
    auto = Choice("auto", 0)
    # What it means for arrays on a GPU, the core does not tell before the call.
    return auto if options.device == "cuda" else _resolve(comm, operation, auto)


def _resolve(comm: Communicator, operation: Operation, choice: Choice) -> Choice:
    algorithm, chunk_bytes = comm._core.chosen(
        operation.collective,
        operation.count,
        operation.dtype,
        root=operation.root or 0,
        algorithm=choice.algorithm,
        chunk_bytes=choice.chunk_bytes,
        registered=operation.memory == "registered",
    )
    pipelined = any(
        entry.pipelined
        for entry in _core.algorithms()
        if (entry.collective, entry.name) == (operation.collective, algorithm)
    )
    return Choice(algorithm, chunk_bytes if pipelined else 0)


def _count_wrong(call: Call, operands: Operands, mpi: MPI.Intracomm, checks: int) -> int | None:
    """Make checked calls; return the wrong elements on all ranks."""
    wrong = 0
    for _ in range(checks):
        operands.fill()
        call.run()
        wrong += operands.count_wrong(call.result)
    total: int = mpi.allreduce(wrong)
    return total if checks else None
