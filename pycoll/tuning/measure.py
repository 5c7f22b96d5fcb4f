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
from pycoll.tuning.calls import Arrays, Call, least_seconds, time_calls
from pycoll.tuning.fit import line_through

T = TypeVar("T")

# A message of 1 MiB is long enough to show the bandwidth, and short enough for a cache, as chunks
# are.
MESSAGE_SIZES = (8, 1 << 10, 8 << 10, 64 << 10, 256 << 10, 1 << 20)
# In the caches of a core, as chunks are; what comes from other cores costs more on top.
KERNEL_BYTES = 256 << 10
# Of copies of the kernel: what it has to do for each page must show beside what it does once.
COPY_SIZES = (16 << 10, 64 << 10, 256 << 10)
# Of what ranks read and write together: from what most caches hold to what few do.
TOUCHED = tuple(mib << 20 for mib in (16, 32, 64, 128, 256))
# How many times faster copies past the caches must be: the least times differ by less.
CLEARLY = 1.03
# Rounds of signals in one call.
ROUNDS = 64
#: Seconds for one number: enough for least times that differ by a few percent from run to run.
BUDGET = 0.25
#: Seconds that any difference is taken for at least, lest anything is divided by nothing.
LEAST = 1e-9


def measure_kernels() -> dict[str, float]:
    """Return gamma and copy: per byte of the result. Not collective."""
    out, left, right = (np.ones(KERNEL_BYTES // 4, np.float32) for _ in range(3))
    calls = [partial(_core.fold, out, left, right), partial(_core.copy, out, left)]
    fold, copy = least_seconds(calls, MPI.COMM_SELF, BUDGET)
    return {"gamma": fold / KERNEL_BYTES, "copy": copy / KERNEL_BYTES}


def measure_link(comm: Communicator, members: tuple[int, ...], turns: float) -> tuple[float, float]:
    """Return alpha and beta of messages that ranks pass on in a ring. Collective.

    The others sleep meanwhile, as far as they can. ``turns`` is how many members share a core: for
    that the model allows by itself.
    """
    with _messages_only():
        return _among(comm, members, partial(_ring, turns=turns))


def _ring(comm: Communicator, *, turns: float) -> tuple[float, float]:
    # With many ranks no long ones: all ranks' copies must go through the caches in the ring, too.
    sizes = [size for size in MESSAGE_SIZES if 2 * size * comm.size < _core.most_cached()]
    times = []
    for size in sizes:
        own, gathered = np.zeros(size, np.uint8), np.zeros((comm.size, size), np.uint8)
        # A copy, and messages one after the other. What is sent must be written anew: else it stays
        # in the caches of both ranks, and messages seem to take less time than copies.
        ring = partial(comm.all_gather, own, gathered.reshape(-1), algorithm="ring")
        copy = partial(_core.copy, gathered[comm.rank], own)
        # Of the least times of ranks that share cores, some are those of lucky turns.
        whole, part = time_calls([ring, copy], comm._mpi, BUDGET / len(sizes))
        times.append(max(whole.median - part.median, LEAST) / (comm.size - 1) / turns)
    return line_through(sizes, times)


def measure_signal(comm: Communicator, pair: tuple[int, ...]) -> float:
    """Return the time of a round of signals between two ranks of a node. Collective."""
    return _among(comm, pair, _round_of_signals)


def measure_fetch(comm: Communicator, pair: tuple[int, ...]) -> float:
    """Return how much longer a byte takes from core to core, between two ranks. Collective."""
    return _among(comm, pair, _fetch)


def measure_cma(comm: Communicator, pair: tuple[int, ...]) -> tuple[float, float]:
    """Return how much longer a copy takes that the kernel makes, and per byte. Collective."""
    return _among(comm, pair, _cma)


def measure_cached(comm: Communicator, members: tuple[int, ...]) -> float:
    """Return from how many bytes on it is faster to copy past the caches. Collective.

    These are the bytes that all members together read and write; each is to have a core of its own.
    """
    return _among(comm, members, _cached)


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
    return line_through(COPY_SIZES, [max(plain - mapped, LEAST) for plain, mapped in pairs])


def _cached(comm: Communicator) -> float:
    found = 2.0 * TOUCHED[-1]
    for touched in reversed(TOUCHED):
        source, out = (np.ones(touched // 2 // comm.size, np.uint8) for _ in range(2))
        # One after the other: what is in the caches keeps copies past them waiting.
        through, past = (
            least_seconds(
                [partial(_core.copy, out, source, past_caches=past_caches)],
                comm._mpi,
                BUDGET / len(TOUCHED),
            )[0]
            for past_caches in (False, True)
        )
        if through < CLEARLY * past:
            break
        found = float(touched)
    return found


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
