"""Where the arrays of a measured call lie, and how their time is taken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pycoll import shared_memory
from pycoll.communicator import Communicator

#: Of NumPy, or of a library for GPUs.
Array: TypeAlias = Any


class Taken(NamedTuple):
    """How long something took, in seconds.

    Attributes
    ----------
    device : float
        From the work before to the work after it on the GPU's stream; not a number on the host.
    """

    wall: float
    device: float


class Clock(Protocol):
    """Takes the time from one point to another."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> Taken:
        """Return the time since `start`, when all that was begun since is over."""


class Memory(Protocol):
    """Makes arrays, and shows what is in them."""

    @property
    def library(self) -> str:
        """Whose arrays they are."""

    @property
    def device_name(self) -> str | None:
        """As the GPU names itself; None on the host."""

    @property
    def number(self) -> int:
        """Of the GPU on its node; 0 on the host."""

    def private(self, count: int, dtype: np.dtype[Any]) -> Array:
        """Return an array with one axis that no other rank sees."""

    def registered(self, comm: Communicator, count: int, dtype: np.dtype[Any]) -> Array:
        """Return one that all ranks of the node see."""

    def read(self, array: Array, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return what is in an array; on the host, the array itself."""

    def write(self, array: Array, values: NDArray[Any]) -> None:
        """Put values into an array."""

    def clock(self) -> Clock:
        """Return a clock for calls on such arrays."""


class HostClock:
    """The time on the wall."""

    def start(self) -> None:
        """Begin."""
        self._begin = time.perf_counter()

    def stop(self) -> Taken:
        """Return the time since `start`."""
        return Taken(time.perf_counter() - self._begin, float("nan"))


class HostMemory:
    """NumPy's arrays."""

    library = "numpy"
    device_name = None
    number = 0

    def private(self, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array with one axis that no other rank sees."""
        return shared_memory.private(count, dtype)

    def registered(self, comm: Communicator, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return one that all ranks of the node see."""
        return comm.empty(count, dtype)

    def read(self, array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the array itself."""
        return array

    def write(self, array: NDArray[Any], values: NDArray[Any]) -> None:
        """Put values into an array, unless they are there."""
        if array is not values:
            array[...] = values

    def clock(self) -> HostClock:
        """Return a clock for calls that are over when they return."""
        return HostClock()


@contextmanager
def changing(memory: Memory, array: Array, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Let the block change what is in an array."""
    values = memory.read(array, dtype)
    yield values
    memory.write(array, values)
