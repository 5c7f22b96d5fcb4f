"""Arrays of any device and dtype as the host memory that a communicator takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from pycoll.train.array_module import Array, array_module_of, as_numpy

if TYPE_CHECKING:
    from pycoll import Communicator

Precision: TypeAlias = Literal["full", "bfloat16"]

_EVERYTHING = slice(None)


class Wire:
    """The memory in which an array travels: the array itself where that is possible.

    It is not for arrays on a GPU, and for those that travel in another dtype.

    Parameters
    ----------
    array : Array
        1-D.
    dtype : dtype, optional
        In which to travel; the array's own when omitted.

    Attributes
    ----------
    memory : NDArray
        In host memory, of the length of the array.
    """

    def __init__(self, comm: Communicator, array: Array, dtype: Any | None = None) -> None:
        self._array = array
        wanted = array.dtype if dtype is None else np.dtype(dtype)
        self._is_array = isinstance(array, np.ndarray) and array.dtype == wanted
        self.memory = array if self._is_array else comm.zeros(array.size, wanted)

    def load(self, part: slice = _EVERYTHING, *, source: Array | None = None) -> None:
        """Put a part of the array into the memory, or the values of ``source`` instead of it."""
        if source is not None or not self._is_array:
            self.memory[part] = as_numpy(self._array[part] if source is None else source)

    def store(self, part: slice = _EVERYTHING) -> None:
        """Take a part of the array from the memory."""
        if not self._is_array:
            self._array[part] = array_module_of(self._array).asarray(
                self.memory[part].astype(self._array.dtype)
            )


def dtype_of(precision: Precision) -> Any | None:
    """Return the dtype in which parameters and gradients travel; None for their own.

    Raises
    ------
    ImportError
        For "bfloat16" when ml_dtypes, which gives NumPy that dtype, is not installed.
    ValueError
        For any other precision.
    """
    if precision == "full":
        return None
    if precision != "bfloat16":
        raise ValueError(f"unknown precision {precision!r}; choose 'full' or 'bfloat16'")
    try:
        import ml_dtypes
    except ImportError as error:
        raise ImportError(
            "precision 'bfloat16' needs the ml_dtypes package: install it, or use precision 'full'"
        ) from error
    return np.dtype(ml_dtypes.bfloat16)


def shared_zeros(comm: Communicator, count: int, like: Array) -> Array:
    """Return a 1-D array of zeros like ``like``; in host memory it is one that all ranks see."""
    if isinstance(like, np.ndarray):
        return comm.zeros(count, like.dtype)
    return array_module_of(like).zeros(count, dtype=like.dtype)


def broadcast_in_place(comm: Communicator, array: Array) -> None:
    """Replace an array by rank 0's. Collective."""
    host = as_numpy(array)
    comm.broadcast(host, root=0)
    if host is not array:
        array[...] = array_module_of(array).asarray(host)
