"""Registered memory of GPUs, as arrays."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from pycoll import _core
from pycoll.arrays import Array
from pycoll.device_array import DeviceArray

#: Set to 0, ranks of one node do not see each other's GPUs.
SWITCH = "PYCOLL_CUDA_IPC"


def empty(shape: int | tuple[int, ...], dtype: npt.DTypeLike, gpu: int, *, zeros: bool) -> Array:
    """Return a new array in registered memory of a GPU.

    It is a CuPy array where CuPy is installed, else a `DeviceArray`.

    Parameters
    ----------
    gpu : int
        Its ordinal.
    zeros : bool
        Whether it is filled with zeros; what it holds is undefined otherwise.

    Raises
    ------
    ValueError, TypeError
        As `numpy.empty` does, for a shape or dtype that makes no sense.
    CudaError
        When there is not so much memory, or no such GPU.
    """
    wanted = np.dtype(dtype)
    # NumPy checks the shape, and its limits; the strides of nothing take no memory.
    like = np.broadcast_to(np.empty((), wanted), shape)
    memory = _core.allocate_on_gpu(gpu, like.nbytes)
    if zeros:
        memory.fill_with_zeros()
    cupy = _cupy()
    if cupy is None:
        return DeviceArray(memory, like.shape, wanted)
    return _as_cupy_array(cupy, memory, like.shape, wanted)


def _cupy() -> ModuleType | None:
    try:
        import cupy
    except ImportError:
        return None
    module: ModuleType = cupy
    return module


def _as_cupy_array(
    cupy: Any, memory: _core.GpuMemory, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    with cupy.cuda.Device(memory.gpu):
        if memory.nbytes == 0:
            return cupy.empty(shape, dtype)
        block = cupy.cuda.UnownedMemory(memory.pointer, memory.nbytes, memory, memory.gpu)
        return cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(block, 0))
