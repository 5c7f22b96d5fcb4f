"""Reductions against NumPy on the stacked inputs: algorithms x dtypes x ops x lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import pytest
from contributions import (
    DTYPES,
    FLOATS,
    SameBits,
    algorithms_of,
    bits,
    contributions,
    counts_for,
    ops_of,
    reduction,
)
from mpi4py import MPI

import pycoll

Form = Literal["in place", "separate"]


def cases(dtype: str, size: int) -> Iterator[tuple[str, int, Form, dict[str, int]]]:
    """Operations, lengths, forms and options.

    Every operation comes in both forms, and so does every length. One length is cut into many
    chunks, some of them uneven.
    """
    for first, op in enumerate(ops_of(dtype)):
        lengths = [
            *((count, {}) for count in counts_for(size)),
            (3001, {"chunk_bytes": 130 * DTYPES[dtype].itemsize}),
        ]
        for number, (count, options) in enumerate(lengths):
            yield op, count, ("in place", "separate")[(first + number) % 2], options


def repeated(call: Callable[[], np.ndarray], dtype: str, what: object) -> np.ndarray:
    """The result of a call, which must have the same bits when it is made again.

    Of integers there is only one right result anyway.
    """
    result = call()
    if dtype in FLOATS:
        assert bits(result) == bits(call()), f"{what}: two runs differ"
    return result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", algorithms_of("all_reduce"))
def test_all_reduce(
    comm: pycoll.Communicator, mpi: MPI.Intracomm, algorithm: str, dtype: str
) -> None:
    """Right, the same bits on all ranks and in every run; only in place changes the argument."""
    same = SameBits()
    for op, count, form, options in cases(dtype, comm.size):
        mine = contributions(dtype, op, count, comm.size)[comm.rank]

        def call(mine=mine, op=op, form=form, options=options) -> np.ndarray:
            array, other = mine.copy(), np.zeros_like(mine)
            out = array if form == "in place" else other
            given = None if form == "in place" else other
            result = comm.all_reduce(array, given, op=op, algorithm=algorithm, **options)
            assert result is out
            assert out is array or bits(array) == bits(mine)
            return out

        what = (algorithm, dtype, op, count, form)
        result = repeated(call, dtype, what)
        if comm.rank == 0:  # the others have the same bits
            reduction(dtype, op, count, comm.size).require(result, what)
        same.add(result)
    same.require(mpi)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", algorithms_of("reduce"))
def test_reduce(comm: pycoll.Communicator, algorithm: str, dtype: str) -> None:
    """Right at every root, the same in every run; arrays of other ranks stay as they are."""
    for number, (op, count, form, options) in enumerate(cases(dtype, comm.size)):
        root = number % comm.size
        mine = contributions(dtype, op, count, comm.size)[comm.rank]

        def call(mine=mine, op=op, form=form, options=options, root=root) -> np.ndarray:
            array, other = mine.copy(), np.zeros_like(mine)
            out = array if form == "in place" else other
            given = None if form == "in place" else other
            result = comm.reduce(array, given, root=root, op=op, algorithm=algorithm, **options)
            if comm.rank == root:
                assert result is out
                assert out is array or bits(array) == bits(mine)
            else:
                assert result is None
                assert bits(array) == bits(mine)
                assert not other.any()
            return out

        what = (algorithm, dtype, op, count, form, root)
        result = repeated(call, dtype, what)
        if comm.rank == root:
            reduction(dtype, op, count, comm.size).require(result, what)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", algorithms_of("reduce_scatter"))
def test_reduce_scatter(comm: pycoll.Communicator, algorithm: str, dtype: str) -> None:
    """Rank r gets the r-th part, in an array of its own or in its own part of the argument."""
    for op, count, form, options in cases(dtype, comm.size):
        total = count * comm.size
        mine = contributions(dtype, op, total, comm.size)[comm.rank]
        own = slice(comm.rank * count, (comm.rank + 1) * count)

        def call(mine=mine, op=op, form=form, options=options, own=own) -> np.ndarray:
            array = mine.copy()
            out = array[own] if form == "in place" else np.zeros_like(mine[own])
            result = comm.reduce_scatter(array, out, op=op, algorithm=algorithm, **options)
            assert result is out
            assert form == "in place" or bits(array) == bits(mine)
            return out

        what = (algorithm, dtype, op, count, form)
        expected = reduction(dtype, op, total, comm.size).part(own.start, own.stop)
        expected.require(repeated(call, dtype, what), what)


@pytest.mark.parametrize("count", [0, 1, 17, 1000, 10_000])
def test_the_algorithm_need_not_be_named(
    comm: pycoll.Communicator, mpi: MPI.Intracomm, count: int
) -> None:
    """Left to itself, the library chooses one that is right, and the same on all ranks."""
    same = SameBits()
    for dtype, op in (("float32", "sum"), ("int64", "prod"), ("bfloat16", "avg")):
        total = count * comm.size
        mine = contributions(dtype, op, total, comm.size)[comm.rank]
        expected = reduction(dtype, op, total, comm.size)
        own = expected.part(comm.rank * count, (comm.rank + 1) * count)
        own.require(comm.reduce_scatter(mine, op=op), (dtype, op))
        result = comm.all_reduce(mine.copy(), op=op)
        expected.require(result, (dtype, op))
        same.add(result)
        result = comm.reduce(mine.copy(), op=op, root=comm.size - 1)
        assert (result is None) == (comm.rank < comm.size - 1)
        if result is not None:
            expected.require(result, (dtype, op))
    same.require(mpi)
