"""Collectives on arrays of any device.

A communicator takes arrays in host memory. Those of a GPU go through a copy there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pycoll.train.array_module import Array, array_module_of, as_numpy

if TYPE_CHECKING:
    from pycoll import Communicator


class SumInFlight:
    """An asynchronous sum of one array over all ranks, in place. Starting it is collective."""

    def __init__(self, comm: Communicator, array: Array) -> None:
        self._array = array
        self._host = as_numpy(array)
        self._work = comm.all_reduce(self._host, op="sum", async_op=True)

    def wait(self) -> None:
        """Wait until the array holds the sum."""
        self._work.wait()
        _copy_back(self._host, self._array)


def shared_zeros(comm: Communicator, count: int, like: Array) -> Array:
    """Return a 1-D array of zeros like ``like``; in host memory it is one that all ranks see."""
    if isinstance(like, np.ndarray):
        return comm.zeros(count, like.dtype)
    return array_module_of(like).zeros(count, dtype=like.dtype)


def broadcast_in_place(comm: Communicator, array: Array) -> None:
    """Replace an array by rank 0's. Collective."""
    host = as_numpy(array)
    comm.broadcast(host, root=0)
    _copy_back(host, array)


def _copy_back(host: Array, array: Array) -> None:
    if host is not array:
        array[...] = array_module_of(array).asarray(host)
