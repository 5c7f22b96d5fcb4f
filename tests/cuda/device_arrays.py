"""Arrays on a fake GPU, as the array libraries offer theirs: three classes, one for each protocol.

For processes that run in ``fake_gpu.environment()``.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from ctypes import byref, c_uint64
from typing import Any, Self

import numpy as np
from dlpack_capsules import managed_tensor
from fake_driver import LEGACY_STREAM, call, current, order
from numpy.typing import ArrayLike, DTypeLike, NDArray

CUDA_DEVICE = 2


class Memory:
    """Memory of a GPU, freed with the last array on it."""

    def __init__(self, nbytes: int, device: int) -> None:
        self.device = device
        self.nbytes = nbytes
        self.pointer = 0
        if nbytes > 0:
            pointer = c_uint64()
            with current(device):
                call("cuMemAlloc_v2", byref(pointer), nbytes)
            self.pointer = pointer.value
            weakref.finalize(self, _free, self.pointer, device).atexit = False


def _free(pointer: int, device: int) -> None:
    with current(device):
        call("cuMemFree_v2", pointer)


class DeviceArray:
    """An array on a GPU, without any protocol: the classes below offer it to others.

    Parameters
    ----------
    memory, offset, shape, strides, dtype
        Where it lies; offset and strides in bytes.
    stream
        The stream that works on it: what is done to it here is put there, and it is what the
        protocols tell others. A number, as of ``fake_driver.Stream.handle``; None: the legacy
        default stream, of which the interface says None, as Numba's arrays do.
    """

    def __init__(
        self,
        memory: Memory,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: DTypeLike,
        stream: int | None,
    ) -> None:
        self._memory = memory
        self._offset = offset
        self.shape = shape
        self.strides = strides
        self.dtype = np.dtype(dtype)
        self.stream = stream
        self.is_read_only = False

    @classmethod
    def empty(
        cls,
        shape: int | Sequence[int],
        dtype: DTypeLike = np.float32,
        *,
        device: int = 0,
        stream: int | None = None,
    ) -> Self:
        """Make an array with any content."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        dtype = np.dtype(dtype)
        nbytes = math.prod(shape) * dtype.itemsize
        strides = tuple(math.prod(shape[axis + 1 :]) * dtype.itemsize for axis in range(len(shape)))
        return cls(Memory(nbytes, device), 0, shape, strides, dtype, stream)

    @classmethod
    def from_host(cls, values: ArrayLike, *, device: int = 0, stream: int | None = None) -> Self:
        """Copy an array to a GPU. The copy is put on the stream: it may end later."""
        host = np.asarray(values, order="C")
        array = cls.empty(host.shape, host.dtype, device=device, stream=stream)
        array.assign(host)
        return array

    def assign(self, values: ArrayLike) -> None:
        """Put a copy of values of the host into the array on the stream."""
        assert self.is_contiguous, "only contiguous arrays are copied"
        host = np.asarray(values, self.dtype, order="C")
        assert host.shape == self.shape, f"{host.shape} does not fit {self.shape}"
        with current(self.device):
            call("cuMemcpyAsync", self.pointer, host.ctypes.data, self.nbytes, self.stream or 0)

    def to_host(self, stream: int | None = None) -> NDArray[Any]:
        """Copy to the host, after what is on ``stream`` (by default the array's own)."""
        assert self.is_contiguous, "only contiguous arrays are copied"
        host = np.empty(self.shape, self.dtype)
        with current(self.device):
            own = (self.stream if stream is None else stream) or 0
            call("cuMemcpyAsync", host.ctypes.data, self.pointer, self.nbytes, own)
        return host

    def new_empty(self, shape: int | Sequence[int]) -> Self:
        """Make an array of this type on the same GPU."""
        return self.empty(shape, self.dtype, device=self.device, stream=self.stream)

    def read_only(self) -> Self:
        """Return the same array, of which others are told that they must not write to it."""
        view = self[:]
        view.is_read_only = True
        return view

    @property
    def device(self) -> int:
        """The GPU that the array is on."""
        return self._memory.device

    @property
    def pointer(self) -> int:
        """Where it begins; 0 for nothing."""
        return self._memory.pointer + self._offset if self._memory.pointer else 0

    @property
    def nbytes(self) -> int:
        """The length of its elements in bytes."""
        return len(self) * math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def is_contiguous(self) -> bool:
        """Do its elements lie one after the other?"""
        expected = self.dtype.itemsize
        for length, stride in reversed(list(zip(self.shape, self.strides, strict=True))):
            if length > 1 and stride != expected:
                return False
            expected *= length
        return True

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 1

    def __getitem__(self, part: slice) -> Self:
        """Return a view of a part of the first axis."""
        start, stop, step = part.indices(self.shape[0])
        length = len(range(start, stop, step))
        return type(self)(
            self._memory,
            self._offset + (start * self.strides[0] if length > 0 else 0),
            (length, *self.shape[1:]),
            (self.strides[0] * step, *self.strides[1:]),
            self.dtype,
            self.stream,
        )

    def _wait_on(self, stream: int | None) -> None:
        """Let a stream of others (-1: none) come after what is on this array's."""
        if stream == -1:
            return
        own = self.stream or LEGACY_STREAM
        others = stream or LEGACY_STREAM
        if own != others:
            order(own, others, self.device)


class InterfaceArray(DeviceArray):
    """Offers ``__cuda_array_interface__``, version 3, as CuPy and Numba do."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, self.is_read_only),
            "strides": None if self.is_contiguous else self.strides,
            "stream": self.stream,
            "version": 3,
        }


class OldInterfaceArray(DeviceArray):
    """Offers ``__cuda_array_interface__``, version 2, which knows no streams."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, self.is_read_only),
            "strides": None if self.is_contiguous else self.strides,
            "version": 2,
        }


class DLPackArray(DeviceArray):
    """Offers DLPack as its version 1 has it, as CuPy, PyTorch and JAX do today."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return (CUDA_DEVICE, self.device)

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        self._wait_on(stream)
        return managed_tensor(self, versioned=max_version is not None and max_version >= (1, 0))


class OldDLPackArray(DeviceArray):
    """Offers DLPack as it was before version 1: without versions, and no word of read-only."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return (CUDA_DEVICE, self.device)

    def __dlpack__(self, stream: int | None = None) -> object:
        self._wait_on(stream)
        return managed_tensor(self, versioned=False)
