"""Arrays on a GPU where no library for such arrays is installed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from pycoll import _core

DLPACK_CUDA = 2
LEGACY_DEFAULT_STREAM = 1


class DeviceArray:
    """An array in the memory of a GPU, which all ranks of the node can see (registered memory).

    `Communicator.empty` and `Communicator.zeros` make them where CuPy is not installed. They hold
    memory and do not compute: ``torch.from_dlpack(array)``, ``cupy.asarray(array)`` and all else
    that takes DLPack or ``__cuda_array_interface__`` make an array of it without a copy.

    It does not know what other libraries do with its memory: work on it has to be on CUDA's legacy
    default stream, the one that libraries use if not told otherwise, or to be over before
    collectives and other libraries get it; or pass collectives the array of the library, or the
    stream.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    """

    __slots__ = ("_memory", "_offset", "dtype", "shape")

    def __init__(
        self,
        memory: _core.GpuMemory,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        offset: int = 0,
    ) -> None:
        """Show some memory as an array; `Communicator.empty` makes new ones.

        Parameters
        ----------
        memory : GpuMemory
            Kept alive.
        shape : tuple of int
        dtype : dtype
            One that collectives take.
        offset : int
            Of the first element, in bytes.

        Raises
        ------
        TypeError
            For a dtype that collectives do not take.
        """
        self.dtype = np.dtype(dtype)
        if self.dtype.name not in _core.DTYPE_SIZES or not self.dtype.isnative:
            raise TypeError(
                f"'dtype' is {self.dtype}; without CuPy, pass one of {', '.join(_core.DTYPE_SIZES)}"
            )
        self.shape = shape
        self._memory = memory
        self._offset = offset

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the elements take."""
        return self.size * self.dtype.itemsize

    @property
    def gpu(self) -> int:
        """Ordinal of the GPU."""
        return self._memory.gpu

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The array by the CUDA array interface, version 3."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self._memory.pointer + self._offset if self.size else 0, False),
            "strides": None,
            "stream": LEGACY_DEFAULT_STREAM,
            "version": 3,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return (DLPACK_CUDA, self.gpu)

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Export the array by DLPack; the parameters are those of the array API standard."""
        if copy or (dl_device is not None and tuple(dl_device) != self.__dlpack_device__()):
            raise BufferError("a DeviceArray is exported without a copy, on the GPU it lies on")
        if stream is not None and stream not in (-1, LEGACY_DEFAULT_STREAM):
            _core.after_default_stream(self.gpu, stream)
        versioned = max_version is not None and max_version[0] >= 1
        return self._memory.dlpack(self._offset, self.shape, self.dtype.name, versioned)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without axes has no length")
        return self.shape[0]

    def __getitem__(self, rows: slice) -> DeviceArray:
        """Return some consecutive rows (along the first axis), in the same memory."""
        if not isinstance(rows, slice):
            raise TypeError(f"the index is {rows!r}; a DeviceArray takes slices of rows only")
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"the step is {step}; a DeviceArray takes consecutive rows only")
        width = math.prod(self.shape[1:]) * self.dtype.itemsize
        shape = (max(stop - start, 0), *self.shape[1:])
        return DeviceArray(self._memory, shape, self.dtype, self._offset + start * width)

    def new_empty(self, shape: tuple[int, ...]) -> DeviceArray:
        """Return a new array of the same dtype on the same GPU; what it holds is undefined."""
        nbytes = math.prod(shape) * self.dtype.itemsize
        return DeviceArray(_core.allocate_on_gpu(self.gpu, nbytes), tuple(shape), self.dtype)

    def __repr__(self) -> str:
        return f"<pycoll.DeviceArray {self.shape} of {self.dtype.name} on GPU {self.gpu}>"
