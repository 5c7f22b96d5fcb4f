"""The libraries that are compared, behind one interface.

Each method of a library returns a call to be timed: what a user of that library writes, with its
arguments bound, and nothing of ours around it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: The modules here.
NAMES = ("pycoll", "mpi", "gloo")

Array: TypeAlias = NDArray[np.float32]
Call: TypeAlias = Callable[[], object]


class Library(Protocol):
    """One library on one rank.

    Vectors are folded and sent in place, from and to rank 0 where there is a root: that is the
    form of data-parallel training, and no library has a faster one. Where every rank has a block,
    ``blocks`` holds those of all ranks and ``block`` that of this rank.

    Attributes
    ----------
    version : str
        The library's own name and version.
    """

    rank: int
    size: int
    version: str

    def empty(self, count: int) -> Array:
        """Return an operand of so many elements."""
        ...

    def all_reduce(self, vector: Array) -> Call:
        """Sum in place, on all ranks."""
        ...

    def reduce(self, vector: Array) -> Call:
        """Sum in place, at rank 0."""
        ...

    def broadcast(self, vector: Array) -> Call:
        """Copy from rank 0."""
        ...

    def reduce_scatter(self, blocks: Array, block: Array) -> Call:
        """Sum, each rank its block."""
        ...

    def all_gather(self, block: Array, blocks: Array) -> Call:
        """Collect the blocks of all ranks, on all ranks."""
        ...

    def all_to_all(self, blocks: Array, received: Array) -> Call:
        """Send each rank a block of its own."""
        ...

    def barrier(self) -> None:
        """Wait for all ranks."""
        ...

    def maximum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the largest over all ranks of each value. Not timed."""
        ...


def open_library(name: str, *, memory: str) -> Library:
    """Return a library, on this rank; collective over the ranks of the run."""
    module = importlib.import_module(f".{name}", __package__)
    library: Library = module.open_library(memory=memory)
    return library
