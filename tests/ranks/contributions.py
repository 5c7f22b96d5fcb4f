"""Inputs that all ranks know, and what reductions must make of them."""

from __future__ import annotations

import hashlib
import math
import zlib
from dataclasses import dataclass
from functools import cache

import ml_dtypes
import numpy as np
from mpi4py import MPI

import pycoll
from pycoll import _core

DTYPES = {
    name: np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name) for name in _core.DTYPE_SIZES
}
FLOATS = ["float16", "bfloat16", "float32", "float64"]
INTEGERS = [name for name in DTYPES if "int" in name]

# Half the distance from 1 to the next number: what rounding a result changes at most, relatively.
ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}


def ops_of(dtype: str) -> list[str]:
    return [op for op in _core.REDUCE_OPS if _core.supports(op, dtype)]


def algorithms_of(collective: str, *, with_counts: bool = False) -> list[str]:
    """Those that these ranks can use, wherever they are."""
    return [
        a.name
        for a in _core.algorithms()
        if a.collective == collective and (a.takes_counts or not with_counts) and _is_possible(a)
    ]


def _is_possible(algorithm: _core.Algorithm) -> bool:
    try:
        pycoll.world()._core.chosen(algorithm.collective, 0, "uint8", algorithm=algorithm.name)
    except ValueError:
        return False
    return True


def counts_for(size: int) -> list[int]:
    """The lengths that algorithms get wrong: less than one element a rank, one, uneven, ..."""
    return sorted({0, 1, size - 1, size, 13, 1000})


def seeded(*key: object) -> np.random.Generator:
    """The same numbers for the same key on every rank, in every process."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


@cache
def random_bits(dtype: str, count: int, ranks: int) -> np.ndarray:
    """Any values at all, NaNs with payloads included; True and False for bool. One row a rank."""
    rng = seeded("bits", dtype, count, ranks)
    if dtype == "bool":
        return rng.integers(0, 2, (ranks, count)).astype(bool)
    raw = rng.integers(0, 256, (ranks, count * DTYPES[dtype].itemsize), np.uint8)
    return raw.view(DTYPES[dtype])


@cache
def contributions(dtype: str, op: str, count: int, ranks: int) -> np.ndarray:
    """Values whose reduction neither overflows nor underflows, unless they are integers."""
    if dtype not in FLOATS:
        return random_bits(dtype, count, ranks)
    rng = seeded("values", dtype, op, count, ranks)
    if op == "prod":
        values = rng.uniform(0.5, 1.5, (ranks, count)) * rng.choice([-1, 1], (ranks, count))
    else:
        values = rng.normal(size=(ranks, count)) * 2.0 ** rng.integers(-4, 5, (ranks, count))
    return values.astype(DTYPES[dtype])


@dataclass(frozen=True)
class Expected:
    """The exact value of each element of a reduction, and how far a result may be from it."""

    values: np.ndarray
    errors: np.ndarray

    def part(self, start: int, stop: int) -> Expected:
        return Expected(self.values[start:stop], self.errors[start:stop])

    def require(self, result: np.ndarray, what: object) -> None:
        assert result.shape == self.values.shape, what
        if result.dtype == self.values.dtype and np.array_equal(result, self.values):
            return
        wide = result.astype(self.values.dtype)
        if self.values.dtype.kind != "f":
            np.testing.assert_array_equal(wide, self.values, str(what))
        distances = np.abs(wide - self.values)
        wrong = np.flatnonzero(~(distances <= self.errors))
        assert not wrong.size, (
            f"{what}: element {wrong[0]} is {wide[wrong[0]]!r}, which is not within "
            f"{self.errors[wrong[0]]!r} of {self.values[wrong[0]]!r}"
        )


@cache
def reduction(dtype: str, op: str, count: int, ranks: int) -> Expected:
    """What NumPy makes of the stacked contributions.

    Whatever the order of a sum of ``ranks`` values, each of them takes part in at most ranks - 1
    additions, each of which changes it by at most a factor of 1 + roundoff (Higham, Accuracy and
    Stability of Numerical Algorithms, 4.2). The same goes for a product as a whole. A fold of
    16-bit floats rounds twice: to float32, then to 16 bits. An average rounds once more.
    """
    values = contributions(dtype, op, count, ranks)
    if dtype in FLOATS:
        return _floating_reduction(dtype, op, values.astype(np.longdouble))
    if op == "avg":
        total = np.add.reduce(values, axis=0, dtype=values.dtype)
        quotient = total // total.dtype.type(ranks)  # towards minus infinity
        exact = quotient * total.dtype.type(ranks) == total
        quotient += ((total < 0) & ~exact).astype(total.dtype)
        return Expected(quotient, np.zeros(count))
    fold = {
        "sum": np.add,
        "prod": np.multiply,
        "min": np.minimum,
        "max": np.maximum,
        "band": np.bitwise_and,
        "bor": np.bitwise_or,
        "bxor": np.bitwise_xor,
    }[op]
    return Expected(fold.reduce(values, axis=0, dtype=values.dtype), np.zeros(count))


def _floating_reduction(dtype: str, op: str, values: np.ndarray) -> Expected:
    ranks = len(values)
    if op in ("min", "max"):
        exact = values.min(axis=0) if op == "min" else values.max(axis=0)
        return Expected(exact, np.zeros(exact.shape))
    if op == "prod":
        exact = values.prod(axis=0)
        weight = np.abs(exact)
    else:
        exact = values.sum(axis=0)
        weight = np.abs(values).sum(axis=0)
    roundings = ranks - 1
    if op == "avg":
        exact, weight, roundings = exact / ranks, weight / ranks, roundings + 1
    # (1 + roundoff)^roundings - 1, without losing the roundoff to the 1.
    growth = math.log1p(ROUNDOFF[dtype])
    if dtype in ("float16", "bfloat16"):
        growth += math.log1p(ROUNDOFF["float32"])
    relative = math.expm1(roundings * growth)
    # What the reference itself is wrong by, and what a denormal result cannot show.
    own = ranks * float(np.finfo(np.longdouble).eps)
    tiny = float(ml_dtypes.finfo(DTYPES[dtype]).smallest_subnormal) / 2
    return Expected(exact, weight * (relative + own) + tiny)


def bits(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array).tobytes()


class SameBits:
    """Collects results that must have the same bits on all ranks, and compares them at the end."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, result: np.ndarray) -> None:
        self._digest.update(bits(result))

    def require(self, mpi: MPI.Intracomm) -> None:
        assert len(set(mpi.allgather(self._digest.digest()))) == 1, "the bits differ between ranks"
