"""Memory of a fake GPU (see tests/cuda) for the arrays of `stand_in_cupy`.

The host has two addresses for it: the GPU's, which pycoll gets and which the host must not touch,
and another one, by which the stand-in computes in its place.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from ctypes import byref, c_uint64
from typing import Any

import fake_driver
import numpy as np


class _Allocation:
    """What NumPy's arrays on the GPU's memory keep alive; their last ``base`` is one of these."""

    def __init__(self, pointer: int, nbytes: int, owner: object) -> None:
        self.pointer = pointer
        self.alias: int = fake_driver.library().fake_cuda_alias(pointer)
        self.owner = owner
        assert self.alias, "this is no memory of the fake GPU"
        self.__array_interface__ = {
            "shape": (nbytes,),
            "typestr": "|u1",
            "data": (self.alias, False),
            "version": 3,
        }


class FakeGpuMemory:
    """Every array lies in an allocation of a GPU, or is a view of one that does."""

    def __init__(self, device: int = 0) -> None:
        self._device = device

    def place(self, array: np.ndarray) -> np.ndarray:
        if array.size == 0 or _allocation(array) is not None:
            return array
        placed = self._allocate(array.nbytes).view(array.dtype).reshape(array.shape)
        placed[...] = array
        return placed

    def pointer(self, array: np.ndarray) -> int:
        allocation = _allocation(array)
        if allocation is None:
            assert array.size == 0
            return 0
        return allocation.pointer + array.ctypes.data - allocation.alias

    def view(
        self, pointer: int, owner: object, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> np.ndarray:
        """Return pycoll's own memory of the GPU as an array."""
        content = np.asarray(_Allocation(pointer, math.prod(shape) * dtype.itemsize, owner))
        return content.view(dtype).reshape(shape)

    def _allocate(self, nbytes: int) -> np.ndarray:
        pointer = c_uint64()
        with fake_driver.current(self._device):
            fake_driver.call("cuMemAlloc_v2", byref(pointer), nbytes)
        allocation = _Allocation(pointer.value, nbytes, None)
        weakref.finalize(allocation, self._free, pointer.value).atexit = False
        return np.asarray(allocation)

    def _free(self, pointer: int) -> None:
        with fake_driver.current(self._device):
            fake_driver.call("cuMemFree_v2", ctypes.c_uint64(pointer))


def _allocation(array: Any) -> _Allocation | None:
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, _Allocation) else None
