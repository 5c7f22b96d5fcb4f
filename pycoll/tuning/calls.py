"""Calls to measure: their arrays, and how long they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mpi4py import MPI

from pycoll.bench.timing import Effort, Timing, time_in_turns
from pycoll.communicator import Communicator
from pycoll.planning.bandwidth import BLOCKWISE
from pycoll.shared_memory import empty, private

Call = Callable[[], object]

#: Collectives that `arrays_for` knows.
MEASURED = ("all_reduce", "reduce", "broadcast", "reduce_scatter", "all_gather", "all_to_all")
DTYPE = "float32"


class Arrays:
    """The arrays of calls of one length, registered or not."""

    def __init__(self, comm: Communicator, collective: str, count: int, *, registered: bool):
        def make(length: int) -> Any:
            array = empty(length, DTYPE) if registered else private(length, DTYPE)
            array.fill(0)  # so that there is memory, and nothing that folds slowly
            return array

        self._comm = comm
        self._collective = collective
        blocks = comm.size if collective in BLOCKWISE else 1
        self._long = make(count * blocks)
        self._short = make(count) if collective in ("reduce_scatter", "all_gather") else None
        self._other = make(count * blocks) if collective in ("reduce", "all_to_all") else None

    def call(self, algorithm: str, chunk_bytes: int = 0) -> Call:
        """Return a call of them with an algorithm."""
        options: dict[str, Any] = {"algorithm": algorithm}
        if chunk_bytes and self._collective != "all_to_all":  # which does not take it
            options["chunk_bytes"] = chunk_bytes
        run = getattr(self._comm, self._collective)
        match self._collective:
            case "all_reduce" | "broadcast":
                return partial(run, self._long, **options)
            case "reduce":
                out = self._other if self._comm.rank == 0 else None
                return partial(run, self._long, out, **options)
            case "all_gather":
                return partial(run, self._short, self._long, **options)
            case "reduce_scatter":
                return partial(run, self._long, self._short, **options)
        return partial(run, self._long, self._other, **options)


def time_calls(calls: Sequence[Call], comm: MPI.Intracomm, seconds: float) -> list[Timing]:
    """Return how long each call takes, after about ``seconds`` for all. Collective."""
    effort = Effort(iterations=None, rounds=None, warmups=2, seconds=seconds)
    return time_in_turns(calls, comm, effort)


def least_seconds(calls: Sequence[Call], comm: MPI.Intracomm, seconds: float) -> list[float]:
    """Return how long each call takes when nothing else disturbs it. Collective."""
    return [min(timing.seconds) for timing in time_calls(calls, comm, seconds)]
