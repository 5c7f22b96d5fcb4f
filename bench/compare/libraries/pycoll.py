"""pycoll, on NumPy's arrays, on its own, or on arrays of memory that ranks do not share."""

# ruff: noqa: D102 (the methods are documented in Library)

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

import pycoll
from pycoll import shared_memory

from . import Array, Call, Library


class Pycoll:
    """pycoll's calls, with ``algorithm="auto"``."""

    def __init__(self, *, memory: str) -> None:
        self._comm = pycoll.Communicator()
        self._memory = memory
        self.rank, self.size = self._comm.rank, self._comm.size
        self.version = f"pycoll {pycoll.__version__} over {self._comm.transport}"
        self.barrier = self._comm.barrier

    def empty(self, count: int) -> Array:
        if self._memory == "registered":
            array: Array = self._comm.empty(count, np.float32)
            return array
        if self._memory == "private":
            return shared_memory.private(count, np.float32)
        return np.empty(count, np.float32)

    def all_reduce(self, vector: Array) -> Call:
        return partial(self._comm.all_reduce, vector)

    def reduce(self, vector: Array) -> Call:
        return partial(self._comm.reduce, vector)

    def broadcast(self, vector: Array) -> Call:
        return partial(self._comm.broadcast, vector)

    def reduce_scatter(self, blocks: Array, block: Array) -> Call:
        return partial(self._comm.reduce_scatter, blocks, block)

    def all_gather(self, block: Array, blocks: Array) -> Call:
        return partial(self._comm.all_gather, block, blocks)

    def all_to_all(self, blocks: Array, received: Array) -> Call:
        return partial(self._comm.all_to_all, blocks, received)

    def maximum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        largest: NDArray[np.float64] = self._comm.all_reduce(values.copy(), op="max")
        return largest


def open_library(*, memory: str) -> Library:
    """Return pycoll on all ranks of the program."""
    return Pycoll(memory=memory)
