"""Shapes of arrays of any library, and new arrays of the same library."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from pycoll import _core

#: Anything with the buffer protocol or DLPack in host memory: NumPy, PyTorch, array.array, ...
Array: TypeAlias = Any

# Far beyond all memory, and small enough for the core to count their bytes in 64 bits.
MOST_ELEMENTS = 2**56


def shape_of(array: Array) -> tuple[int, ...]:
    """Return the shape of an array.

    Raises
    ------
    TypeError
        When it is no array.
    """
    shape = getattr(array, "shape", None)
    if shape is not None:
        return tuple(shape)
    try:
        view = memoryview(array)
    except TypeError:
        raise TypeError(
            f"'array' is a {type(array).__name__}, not an array; pass a NumPy array, or anything "
            "with the buffer protocol or DLPack"
        ) from None
    return view.shape or ()


def empty_like(array: Array, rows: int | None) -> Array:
    """Return a new array of the same dtype, of another length along the first axis.

    It is a PyTorch tensor for a PyTorch tensor, and a NumPy array for anything else.

    Parameters
    ----------
    array : array
        One without axes counts as one with a single element.
    rows : int, optional
        Length of the first axis; as in ``array`` when omitted.
    """
    shape = shape_of(array)
    if rows is not None:
        shape = (rows, *shape[1:])
    if hasattr(array, "new_empty"):  # PyTorch
        return array.new_empty(shape)
    name = _core.dtype_of(array)
    if name != "bfloat16":
        return np.empty(shape, dtype=name)
    import ml_dtypes

    return np.empty(shape, dtype=ml_dtypes.bfloat16)


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
