"""Arrays of any dtype as the memory in which they travel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from pycoll.train.array_module import Array, array_module, device_of

if TYPE_CHECKING:
    from pycoll import Communicator

Precision: TypeAlias = Literal["full", "bfloat16"]

_EVERYTHING = slice(None)


class Wire:
    """The memory in which an array travels: the array itself where that is possible.

    It is not for arrays that travel in another dtype.

    Parameters
    ----------
    array : Array
        1-D.
    dtype : dtype, optional
        In which to travel; the array's own when omitted.

    Attributes
    ----------
    memory : Array
        On the array's device, and of its length.
    """

    def __init__(self, comm: Communicator, array: Array, dtype: Any | None = None) -> None:
        self._array = array
        wanted = array.dtype if dtype is None else np.dtype(dtype)
        self._is_array = array.dtype == wanted
        self.memory: Array = (
            array if self._is_array else comm.zeros(array.size, wanted, device=device_of(array))
        )

    def load(self, part: slice = _EVERYTHING, *, source: Array | None = None) -> None:
        """Put a part of the array into the memory, or the values of ``source`` instead of it."""
        if source is not None or not self._is_array:
            values = self._array[part] if source is None else source
            self.memory[part] = values.astype(self.memory.dtype)

    def store(self, part: slice = _EVERYTHING) -> None:
        """Take a part of the array from the memory."""
        if not self._is_array:
            self._array[part] = self.memory[part].astype(self._array.dtype)


def dtype_of(precision: Precision, device: str = "cpu") -> Any | None:
    """Return the dtype in which parameters and gradients travel; None for their own.

    Raises
    ------
    ImportError
        For "bfloat16" when ml_dtypes, which gives NumPy that dtype, is not installed, or on a GPU
        CuPy is older than 14, which was the first to take it.
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
    if device != "cpu":
        version = array_module(device).__version__
        if int(version.partition(".")[0]) < 14:
            raise ImportError(
                f"precision 'bfloat16' on a GPU needs CuPy 14 or newer, not {version}: update it, "
                "or use precision 'full'"
            )
    return np.dtype(ml_dtypes.bfloat16)


def shared_zeros(comm: Communicator, count: int, like: Array) -> Array:
    """Return a 1-D array of zeros like ``like``, which all ranks of the node see."""
    zeros: Array = comm.zeros(count, like.dtype, device=device_of(like))
    return zeros
