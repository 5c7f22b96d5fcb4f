"""NaN, infinities, denormals, signed zeros, wrap-around, truth values."""

from __future__ import annotations

import numpy as np
import pytest
from contributions import DTYPES, FLOATS, INTEGERS, SameBits, algorithms_of, bits
from mpi4py import MPI

import pycoll

REDUCTIONS = algorithms_of("all_reduce")


def at_one_rank(value: float, others: float, ranks: int) -> np.ndarray:
    """Column r: the value at rank r, the others elsewhere. One row a rank."""
    return np.where(np.eye(ranks, dtype=bool), value, others)


@pytest.mark.parametrize("algorithm", REDUCTIONS)
def test_nan_and_infinities_propagate(
    comm: pycoll.Communicator, mpi: MPI.Intracomm, algorithm: str
) -> None:
    """One NaN or infinity at any rank shows as in NumPy; all ranks get the same NaN."""
    size, same = comm.size, SameBits()
    values = np.concatenate(
        [
            at_one_rank(np.nan, 1.5, size),
            at_one_rank(np.inf, -2, size),
            at_one_rank(-np.inf, 3, size),
            at_one_rank(np.inf, -np.inf, size),
            at_one_rank(np.nan, np.inf, size),
            at_one_rank(0, np.inf, size),
            at_one_rank(-0.0, 2, size),
        ],
        axis=1,
    )
    folds = {"sum": np.add, "prod": np.multiply, "min": np.minimum, "max": np.maximum}
    for op, fold in folds.items():
        with np.errstate(invalid="ignore"):
            expected = fold.reduce(values, axis=0)
        for dtype in FLOATS:
            array = values[comm.rank].astype(DTYPES[dtype])
            comm.all_reduce(array, op=op, algorithm=algorithm)
            np.testing.assert_array_equal(array.astype(np.float64), expected, f"{op} of {dtype}")
            same.add(array)
    same.require(mpi)


@pytest.mark.parametrize("algorithm", REDUCTIONS)
def test_there_is_one_nan(comm: pycoll.Communicator, algorithm: str) -> None:
    """NaNs of any sign and payload, a different one on each rank, become the same quiet NaN."""
    if comm.size == 1:
        pytest.skip("one rank folds nothing")
    quiet = {
        "float16": 0x7E00,
        "bfloat16": 0x7FC0,
        "float32": 0x7FC00000,
        "float64": 0x7FF8000000000000,
    }
    for dtype in FLOATS:
        width = DTYPES[dtype].itemsize
        sign = (comm.rank % 2) << (8 * width - 1)
        raw = np.full(5, quiet[dtype] | sign | (comm.rank + 1), f"u{width}")
        for op in ("sum", "prod", "min", "max", "avg"):
            array = raw.view(DTYPES[dtype]).copy()
            comm.all_reduce(array, op=op, algorithm=algorithm)
            assert set(array.view(raw.dtype)) == {quiet[dtype]}, (op, dtype)


@pytest.mark.parametrize("algorithm", REDUCTIONS)
def test_denormals_are_not_flushed(comm: pycoll.Communicator, algorithm: str) -> None:
    """Sums of denormal numbers are exact."""
    unit = 1 << np.arange(4)  # in the last place: as an integer, the number itself
    for dtype in FLOATS:
        raw = unit.astype(f"u{DTYPES[dtype].itemsize}")
        array = raw.view(DTYPES[dtype]).copy()
        comm.all_reduce(array, algorithm=algorithm)
        np.testing.assert_array_equal(array.view(raw.dtype), unit * comm.size, dtype)


@pytest.mark.parametrize("algorithm", REDUCTIONS)
def test_signed_zeros(comm: pycoll.Communicator, algorithm: str) -> None:
    """-0 is below 0; a sum is -0 only when all are; a product has the product of the signs."""
    size = comm.size
    all_negative = np.full((size, 1), -0.0)
    values = np.concatenate([all_negative, at_one_rank(-0.0, 0.0, size)], axis=1)
    mixed = [size == 1] * size  # columns with both signs, unless there is one rank only
    for op, negative in {
        "sum": [True, *mixed],
        "min": [True] * (size + 1),
        "max": [True, *mixed],
        "prod": [size % 2 == 1] + [True] * size,
    }.items():
        for dtype in FLOATS:
            array = values[comm.rank].astype(DTYPES[dtype])
            comm.all_reduce(array, op=op, algorithm=algorithm)
            wide = array.astype(np.float64)
            assert (wide == 0).all()
            np.testing.assert_array_equal(np.signbit(wide), negative, f"{op} of {dtype}")


@pytest.mark.parametrize("algorithm", REDUCTIONS)
def test_integers_wrap_around(comm: pycoll.Communicator, algorithm: str) -> None:
    """The largest and smallest numbers of all ranks, summed and multiplied, wrap as NumPy's do."""
    for dtype in INTEGERS:
        limits = np.iinfo(dtype)
        values = np.array([limits.max, limits.min, limits.max - 1, 1], dtype)
        for op, fold in {"sum": np.add, "prod": np.multiply}.items():
            expected = fold.reduce(np.tile(values, (comm.size, 1)), axis=0, dtype=values.dtype)
            result = comm.all_reduce(values.copy(), op=op, algorithm=algorithm)
            np.testing.assert_array_equal(result, expected, f"{op} of {dtype}")


def test_average_of_integers_is_cut_off_towards_zero(comm: pycoll.Communicator) -> None:
    """The average of negative numbers rounds up, that of positive ones down."""
    last = comm.rank == comm.size - 1
    array = np.array([-7, 7, -1, 1, 0], np.int32) + last * np.array([-1, 1, 0, 0, 0], np.int32)
    comm.all_reduce(array, op="avg")
    one = int(comm.size == 1)
    np.testing.assert_array_equal(array, [-7 - one, 7 + one, -1, 1, 0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_average_divides_once_at_the_end(comm: pycoll.Communicator, dtype: str) -> None:
    """The average of equal numbers whose sum is exact is that number, bit for bit."""
    values = np.array([3.0, -5.0, 0.25, 1024.0], DTYPES[dtype])
    for algorithm in REDUCTIONS:
        array = comm.all_reduce(values.copy(), op="avg", algorithm=algorithm)
        assert bits(array) == bits(values), algorithm


def test_half_precision_sums_round_to_nearest_even(comm: pycoll.Communicator) -> None:
    """2048 + 1 is a tie that goes to 2048 in float16; 2050 + 1 one that goes to 2052."""
    if comm.size < 2:
        pytest.skip("needs an addition")
    array = np.array([2048, 2050] if comm.rank == 0 else [0, 0], np.float16)
    array += np.float16(comm.rank == comm.size - 1)
    comm.all_reduce(array)
    np.testing.assert_array_equal(array, [2048, 2052])


def test_any_byte_but_zero_is_true(comm: pycoll.Communicator) -> None:
    """Logical folds look at truth, not at bits, and give 0 or 1."""
    raw = np.array([0, 1, 2, 254, comm.rank], np.uint8)
    everywhere = comm.size == 1
    for op, expected in {
        "band": [0, 1, 1, 1, 0],
        "min": [0, 1, 1, 1, 0],
        "bor": [0, 1, 1, 1, not everywhere],
        "max": [0, 1, 1, 1, not everywhere],
        "bxor": [0, *[comm.size % 2] * 3, (comm.size - 1) % 2],
    }.items():
        array = raw.view(bool).copy()
        comm.all_reduce(array, op=op)
        if comm.size > 1:  # one rank folds nothing
            np.testing.assert_array_equal(array.view(np.uint8), np.array(expected, np.uint8), op)
        else:
            np.testing.assert_array_equal(array, np.array(expected, bool), op)
