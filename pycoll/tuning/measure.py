"""Measuring the costs of a machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import numpy as np
from mpi4py import MPI

from pycoll import _core, shared_memory
from pycoll.communicator import Communicator
from pycoll.tuning.calls import Arrays, Call, least_seconds
from pycoll.tuning.fit import line_through

T = TypeVar("T")

# A message of 1 MiB is long enough to show the bandwidth, and short enough for a cache, as chunks
# are.
MESSAGE_SIZES = (8, 1 << 10, 8 << 10, 64 << 10, 256 << 10, 1 << 20)
# Longer than the cache of a core, so that operands come from where other ranks' data come from.
KERNEL_BYTES = 1 << 20
# Of copies of the kernel: what it has to do for each page must show beside what it does once.
COPY_SIZES = (16 << 10, 64 << 10, 256 << 10)
# Rounds of signals in one call.
ROUNDS = 64
#: Seconds for one number: enough for least times that differ by a few percent from run to run.
BUDGET = 0.25


def measure_kernels() -> dict[str, float]:
    """Return gamma and copy: per byte of the result. Not collective."""
    out, left, right = (np.ones(KERNEL_BYTES // 4, np.float32) for _ in range(3))
    calls = [partial(_core.fold, out, left, right), partial(_core.copy, out, left)]
    fold, copy = least_seconds(calls, MPI.COMM_SELF, BUDGET)
    return {"gamma": fold / KERNEL_BYTES, "copy": copy / KERNEL_BYTES}


def measure_link(comm: Communicator, pair: tuple[int, int]) -> tuple[float, float]:
    """Return alpha and beta of messages that two ranks exchange. Collective.

    The others sleep meanwhile, as far as they can.
    """
    with _split(comm, pair) as two, _messages_only():
        found = None
        if two is not None:
            with Communicator(two) as exchanging:
                found = _exchange(exchanging)
        comm.barrier()
    line: tuple[float, float] = comm._mpi.bcast(found, root=pair[0])
    return line


def _exchange(comm: Communicator) -> tuple[float, float]:
    times = []
    for size in MESSAGE_SIZES:
        both = np.zeros((2, size), np.uint8)
        # In place nothing is copied: one message each way.
        call = partial(comm.all_gather, both[comm.rank], both.reshape(-1), algorithm="ring")
        times += least_seconds([call], comm._mpi, BUDGET / len(MESSAGE_SIZES))
    return line_through(MESSAGE_SIZES, times)


def measure_signal(comm: Communicator, pair: tuple[int, int]) -> float:
    """Return the time of a round of signals between two ranks of a node. Collective."""
    return _among(comm, pair, _round_of_signals)


def measure_fetch(comm: Communicator, pair: tuple[int, int]) -> float:
    """Return how much longer a byte takes from core to core, between two ranks. Collective."""
    return _among(comm, pair, _fetch)


def measure_cma(comm: Communicator, pair: tuple[int, int]) -> tuple[float, float]:
    """Return how much longer a copy takes that the kernel makes, and per byte. Collective."""
    return _among(comm, pair, _cma)


def measure_barrier(comm: Communicator, members: tuple[int, ...]) -> float:
    """Return the time of a barrier between ranks of a node: a call, and a round. Collective."""
    return _among(comm, members, _barrier)


def _among(comm: Communicator, members: tuple[int, ...], measure: Callable[[Communicator], T]) -> T:
    """Measure among some ranks while the others sleep."""
    with _split(comm, members) as some:
        found = None
        if some is not None:
            with Communicator(some) as together:
                found = measure(together)
        comm.barrier()
    result: T = comm._mpi.bcast(found, root=members[0])
    return result


def _round_of_signals(comm: Communicator) -> float:
    # One element in each turn: nothing but the signals takes time.
    once, often = (
        Arrays(comm, "broadcast", count, registered=False).call("staged", chunk_bytes=4)
        for count in (1, ROUNDS)
    )
    short, long = least_seconds([once, often], comm._mpi, BUDGET)
    return max(long - short, 0.0) / (ROUNDS - 1)


def _fetch(comm: Communicator) -> float:
    # In one shot each rank copies its bytes to its stage, whose lines the other one has, and copies
    # the other's from there. Alone, on memory of its own, it does the same without the other.
    sizes = (4 << 10, 32 << 10)
    together = [
        Arrays(comm, "all_gather", size // 4, registered=False).call("one_shot") for size in sizes
    ]
    source, stage, out = (np.zeros(sizes[-1], np.uint8) for _ in range(3))

    def alone(size: int) -> None:
        _core.copy(stage[:size], source[:size])
        for _ in range(comm.size):
            _core.copy(out[:size], stage[:size])

    calls: list[Call] = [*together, *(partial(alone, size) for size in sizes)]
    short, long, short_alone, long_alone = least_seconds(calls, comm._mpi, BUDGET)
    fetched = 2 * (sizes[1] - sizes[0])
    return max((long - short) - (long_alone - short_alone), 0.0) / fetched


def _cma(comm: Communicator) -> tuple[float, float]:
    # Each copies one block of the other's, beside its own.
    calls = [
        Arrays(comm, "all_to_all", size // 4, registered=registered).call("direct")
        for registered in (False, True)
        for size in COPY_SIZES
    ]
    seconds = least_seconds(calls, comm._mpi, BUDGET)
    pairs = zip(seconds[: len(COPY_SIZES)], seconds[len(COPY_SIZES) :], strict=True)
    least = 1e-9  # lest anything is divided by nothing
    return line_through(COPY_SIZES, [max(plain - mapped, least) for plain, mapped in pairs])


def _barrier(comm: Communicator) -> float:
    [seconds] = least_seconds([comm.barrier], comm._mpi, BUDGET)
    return seconds


@contextmanager
def _split(comm: Communicator, members: tuple[int, ...]) -> Iterator[MPI.Intracomm | None]:
    """Make an MPI communicator of some ranks, for a while; None on the others."""
    color = 0 if comm.rank in members else MPI.UNDEFINED
    some = MPI.Intracomm(comm._mpi.Split(color, comm.rank))
    if some == MPI.COMM_NULL:
        yield None
        return
    try:
        yield some
    finally:
        some.Free()


@contextmanager
def _messages_only() -> Iterator[None]:
    """Let communicators that are made meanwhile talk by messages, inside a node, too."""
    before = os.environ.get(shared_memory.SWITCH)
    os.environ[shared_memory.SWITCH] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[shared_memory.SWITCH]
        else:
            os.environ[shared_memory.SWITCH] = before
