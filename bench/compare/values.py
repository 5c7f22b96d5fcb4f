"""Input of which the result is known exactly, and how much of a result is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .libraries import Array

#: Contributions repeat after this many elements. A prime: data that ends up a whole number of
#: blocks or pages away from its place does not look right there.
PERIOD = 1009
#: Contributions are whole numbers below this one: float32 adds up 170 000 of them exactly, in
#: every order.
_BOUND = 97


def contribution(rank: int) -> Array:
    """Return one period of what a rank contributes; no two of the first 96 ranks the same."""
    return ((np.arange(PERIOD) * (rank + 1) + rank) % _BOUND).astype(np.float32)


def total(ranks: int) -> Array:
    """Return one period of the sum over all ranks."""
    summed: Array = np.sum([contribution(rank) for rank in range(ranks)], axis=0, dtype=np.float32)
    return summed


def fill(array: Array, period: Array) -> None:
    """Write a period again and again."""
    for part, expected in _pieces(array, period):
        part[...] = expected


def count_wrong(array: Array, period: Array, start: int = 0) -> int:
    """Return how many elements are not those of a repeated period, from its ``start``-th on."""
    return sum(
        int(np.count_nonzero(part != expected))
        for part, expected in _pieces(array, np.roll(period, -start))
    )


def _pieces(array: Array, period: Array) -> Iterator[tuple[NDArray[np.float32], Array]]:
    """Return the part that whole periods cover, and the rest, each with what belongs there."""
    covered = array.size - array.size % PERIOD
    yield array[:covered].reshape(-1, PERIOD), period
    yield array[covered:], period[: array.size - covered]
