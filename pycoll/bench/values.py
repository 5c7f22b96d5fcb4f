"""Input of which the result is known exactly, and how much of a result is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Contributions repeat after this many elements. A prime: data that ends up a whole number of
#: chunks, blocks or pages away from its place does not look right there.
PERIOD = 1009

#: Largest number up to which every whole number has an exact value of the type; others count
#: far enough.
_EXACT_UP_TO = {"bool": 1, "int8": 127, "uint8": 255, "bfloat16": 256, "float16": 2048}
_LARGEST_VALUE = 100

_FOLDS = {
    "sum": np.add,
    "prod": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "band": np.bitwise_and,
    "bor": np.bitwise_or,
    "bxor": np.bitwise_xor,
}


def numpy_type(dtype: str) -> np.dtype[Any]:
    """Return the NumPy type of one of pycoll's names."""
    name: Any = dtype
    if dtype == "bfloat16":
        import ml_dtypes

        name = ml_dtypes.bfloat16
    kind: np.dtype[Any] = np.dtype(name)
    return kind


class Values:
    """What every rank contributes, and what that folds to.

    All are whole numbers, so small that sums and products are exact in every order (products
    of floats may overflow, to the same infinity in every order; integers wrap around). For bfloat16
    this holds up to 128 ranks.

    Attributes
    ----------
    rows : array, shape (ranks, PERIOD)
        One period of each rank's contribution.
    folded : array, shape (PERIOD,)
        One period of the result; zeros without an op.
    """

    def __init__(self, dtype: str, op: str | None, ranks: int) -> None:
        whole = _contributions(dtype, op, ranks)
        kind = numpy_type(dtype)
        self.rows = whole.astype(kind)
        self.folded = _fold(whole, kind, op)

    def fill(self, array: NDArray[Any], rank: int) -> None:
        """Write the contribution of a rank."""
        for begin, expected in _blocks(self.rows[rank], 0, array.size):
            array[begin : begin + expected.size] = expected

    def count_wrong(self, array: NDArray[Any], source: int | None, start: int) -> int:
        """Return how many elements differ from what they must be.

        Parameters
        ----------
        array : array, one axis
        source : int or None
            The rank whose contribution it must hold; None for the folded result.
        start : int
            Of which element on.
        """
        period = self.folded if source is None else self.rows[source]
        return sum(
            int(np.count_nonzero(array[begin : begin + expected.size] != expected))
            for begin, expected in _blocks(period, start, array.size)
        )


def _blocks(period: NDArray[Any], start: int, count: int) -> list[tuple[int, NDArray[Any]]]:
    """Cut ``count`` repeating elements into pieces that fit a cache: (offset, elements)."""
    length = PERIOD * 256
    tile = np.resize(np.roll(period, -(start % PERIOD)), min(count, length))
    return [(begin, tile[: count - begin]) for begin in range(0, count, length)]


def _contributions(dtype: str, op: str | None, ranks: int) -> NDArray[np.int64]:
    """Return whole numbers, shape (ranks, PERIOD): the same on all ranks and in every run."""
    random = np.random.default_rng(0)
    shape = (ranks, PERIOD)
    exact = _EXACT_UP_TO.get(dtype, 1 << 24)
    if op == "prod":
        # About four ranks contribute a 2 to each element.
        return 1 + (random.random(shape) < min(0.5, 4 / ranks)).astype(np.int64)
    if op in ("sum", "avg"):
        largest = max(1, min(exact // ranks - 1, _LARGEST_VALUE))
        whole = random.integers(0, largest, shape, endpoint=True)
        if ranks * (largest + 1) > exact:  # even ones add up to too much: most are zeros
            whole *= random.random(shape) < exact / (4 * ranks)
        if op == "avg":
            whole[-1] += -whole.sum(axis=0) % ranks
        return whole
    return random.integers(0, min(exact, _LARGEST_VALUE), shape, endpoint=True)


def _fold(whole: NDArray[np.int64], kind: np.dtype[Any], op: str | None) -> NDArray[Any]:
    if op is None:
        return np.zeros(PERIOD, kind)
    if op == "avg":
        # The sum wraps around before it is divided; the quotient is truncated towards zero.
        total = whole.sum(axis=0).astype(kind).astype(np.float64)
        mean = total / len(whole)
        folded = np.trunc(mean) if kind.kind in "iu" else mean
    else:
        folded = _FOLDS[op].reduce(whole, axis=0)
    with np.errstate(over="ignore"):
        result: NDArray[Any] = np.asarray(folded).astype(kind)
    return result
