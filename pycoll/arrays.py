"""Shapes of arrays of any library, and new arrays of the same library."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from pycoll import _core

#: Anything with the buffer protocol, DLPack or the CUDA array interface, on the host or on a GPU:
#: NumPy, CuPy, PyTorch, array.array, ...
Array: TypeAlias = Any

# DLPack's numbers for the memory of a GPU, and for memory that it shares with the host.
DLPACK_CUDA_DEVICES = (2, 13)

# Far beyond all memory, and small enough for the core to count their bytes in 64 bits.
MOST_ELEMENTS = 2**56


def shape_of(array: Array) -> tuple[int, ...]:
    """Return the shape of an array.

    Raises
    ------
    TypeError
        When it is no array.
    ValueError
        When its library refuses to show it.
    """
    shape = getattr(array, "shape", None)
    if shape is not None:
        return tuple(shape)
    try:
        interface = getattr(array, "__cuda_array_interface__", None)
    except Exception as error:  # of any library
        raise ValueError(f"'array' does not show its shape: {error}") from error
    if interface is not None:
        return tuple(interface["shape"])
    try:
        view = memoryview(array)
    except TypeError:
        raise TypeError(
            f"'array' is a {type(array).__name__}, not an array; pass a NumPy array, or anything "
            "with the buffer protocol, DLPack or __cuda_array_interface__"
        ) from None
    return view.shape or ()


def empty_like(array: Array, rows: int | None) -> Array:
    """Return a new array of the same dtype and on the same device, of another length.

    It is of the same library for PyTorch, CuPy and Numba, and a `pycoll.DeviceArray` for one of
    those; on the host, it is a NumPy array for anything else.

    Parameters
    ----------
    array : array
        One without axes counts as one with a single element.
    rows : int, optional
        Length of the first axis; as in ``array`` when omitted.

    Raises
    ------
    TypeError
        For an array on a GPU of a library that offers no way to make one, or none that can be
        written.
    """
    shape = shape_of(array)
    if rows is not None:
        shape = (rows, *shape[1:])
    if hasattr(array, "new_empty"):  # PyTorch, DeviceArray
        return array.new_empty(shape)
    if is_on_gpu(array):
        return _empty_on_gpu(array, shape)
    name = _core.dtype_of(array)
    if name != "bfloat16":
        return np.empty(shape, dtype=name)
    import ml_dtypes

    return np.empty(shape, dtype=ml_dtypes.bfloat16)


def is_on_gpu(array: Array) -> bool:
    """Return whether an array lies on a CUDA GPU.

    Raises
    ------
    ValueError
        When its library does not say, as for one that lies on several.
    """
    if isinstance(array, np.ndarray):
        return False
    # What keeps an array from showing the interface is for DLPack to say.
    with contextlib.suppress(Exception):
        if hasattr(array, "__cuda_array_interface__"):
            return True
    device = getattr(array, "__dlpack_device__", None)
    if device is None:
        return False
    try:
        return int(device()[0]) in DLPACK_CUDA_DEVICES
    except Exception as error:  # of any library: JAX's for arrays over several GPUs, ...
        raise ValueError(f"'array' does not say where it lies: {error}") from error


def _empty_on_gpu(array: Array, shape: tuple[int, ...]) -> Array:
    library = type(array).__module__.partition(".")[0]
    if library == "cupy":
        import cupy

        with array.device:
            return cupy.empty(shape, array.dtype)
    if library in ("numba", "numba_cuda"):
        from numba import cuda

        # Numba makes arrays on the current GPU. An array without memory may be on any.
        address, _ = array.__cuda_array_interface__["data"]
        gpu = _core.gpu_of(address)
        with contextlib.nullcontext() if gpu is None else cuda.gpus[gpu]:
            return cuda.device_array(shape, array.dtype)
    raise TypeError(
        f"'out' is missing, and pycoll makes no {type(array).__name__} of {library} on a GPU that "
        "it could write; pass 'out', such as an array of CuPy or PyTorch, or comm.empty(shape, "
        "dtype, device='cuda')"
    )


def rows_of(array: Array) -> int:
    """Return the length of the first axis; 1 for an array without axes."""
    shape = shape_of(array)
    return shape[0] if shape else 1


def share_rows(array: Array, ranks: int) -> int:
    """Return the rows of one of ``ranks`` equal parts of an array.

    Raises
    ------
    ValueError
        When the rows cannot be shared evenly.
    """
    rows = rows_of(array)
    if rows % ranks:
        raise ValueError(
            f"'array' has {rows} rows (first axis), which {ranks} ranks cannot share evenly; "
            "pad it, or use the form with counts"
        )
    return rows // ranks


def row_counts(argument: str, counts: Sequence[int], ranks: int) -> list[int]:
    """Return counts of rows per rank as ints.

    Parameters
    ----------
    argument : str
        Their name, for messages.

    Raises
    ------
    TypeError, ValueError
        When they are not ``ranks`` whole numbers from 0.
    """
    try:
        rows = [operator.index(count) for count in counts]
    except TypeError:
        raise TypeError(f"{argument!r} must be a sequence of {ranks} integers") from None
    if len(rows) != ranks:
        raise ValueError(
            f"{argument!r} has {len(rows)} entries for {ranks} ranks; pass one for each rank"
        )
    if min(rows) < 0:
        raise ValueError(f"{argument!r} has a negative entry, {min(rows)}; pass lengths from 0")
    return rows


def elements_of(argument: str, rows: list[int], array: Array) -> list[int]:
    """Return how many elements so many rows of an array have.

    Raises
    ------
    ValueError
        When they are too many to be right.
    """
    width = math.prod(shape_of(array)[1:])
    if sum(rows) * width > MOST_ELEMENTS:
        raise ValueError(
            f"{argument!r} sums up to {sum(rows)} rows; that is more than memory holds"
        )
    return [count * width for count in rows]
