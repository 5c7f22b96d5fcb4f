"""Rows of the identity matrix."""

from __future__ import annotations

from typing import Any

from pycoll.train.array_module import Array


def one_hot(xp: Any, indices: Array, classes: int, dtype: Any) -> Array:
    """Return an array ``(n, classes)`` with a 1 in column ``indices[i]`` of each row ``i``.

    Parameters
    ----------
    indices : Array
        Integers, shape ``(n,)``.
    """
    rows: Array = xp.zeros((indices.shape[0], classes), dtype=dtype)
    rows[xp.arange(indices.shape[0]), indices] = 1
    return rows
