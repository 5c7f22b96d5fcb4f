"""Reductions against NumPy on the stacked inputs: algorithms x dtypes x ops x lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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

Cases = Iterator[tuple[str, int, dict[str, int]]]


def cases(dtype: str, size: int) -> Cases:
    """Operations, lengths and options; one length is cut into many chunks, some of them uneven."""
    for op in ops_of(dtype):
        for count in counts_for(size):
            yield op, count, {}
        yield op, 3001, {"chunk_bytes": 500}


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
    for op, count, options in cases(dtype, comm.size):
        mine = contributions(dtype, op, count, comm.size)[comm.rank]
        what = (algorithm, dtype, op, count)

        def in_place(mine=mine, op=op, options=options) -> np.ndarray:
            array = mine.copy()
            assert comm.all_reduce(array, op=op, algorithm=algorithm, **options) is array
            return array

        def separate(mine=mine, op=op, options=options) -> np.ndarray:
            array, out = mine.copy(), np.zeros_like(mine)
            result = comm.all_reduce(array, out, op=op, algorithm=algorithm, **options)
            assert result is out
            assert bits(array) == bits(mine)
            return out

        for form in (in_place, separate):
            result = repeated(form, dtype, what)
            if comm.rank == 0:  # the others have the same bits
                reduction(dtype, op, count, comm.size).require(result, (*what, form.__name__))
            same.add(result)
    same.require(mpi)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", algorithms_of("reduce"))
def test_reduce(comm: pycoll.Communicator, algorithm: str, dtype: str) -> None:
    """Right at every root, the same in every run; arrays of other ranks stay as they are."""
    for number, (op, count, options) in enumerate(cases(dtype, comm.size)):
        root = number % comm.size
        mine = contributions(dtype, op, count, comm.size)[comm.rank]
        what = (algorithm, dtype, op, count, root)

        def in_place(mine=mine, op=op, options=options, root=root) -> np.ndarray:
            array = mine.copy()
            result = comm.reduce(array, root=root, op=op, algorithm=algorithm, **options)
            assert result is (array if comm.rank == root else None)
            return array

        def separate(mine=mine, op=op, options=options, root=root) -> np.ndarray:
            array, out = mine.copy(), np.zeros_like(mine)
            result = comm.reduce(array, out, root=root, op=op, algorithm=algorithm, **options)
            assert result is (out if comm.rank == root else None)
            assert bits(array) == bits(mine)
            return out

        for form, untouched in ((in_place, mine), (separate, np.zeros_like(mine))):
            result = repeated(form, dtype, what)
            if comm.rank == root:
                reduction(dtype, op, count, comm.size).require(result, (*what, form.__name__))
            else:
                assert bits(result) == bits(untouched), what


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", algorithms_of("reduce_scatter"))
def test_reduce_scatter(comm: pycoll.Communicator, algorithm: str, dtype: str) -> None:
    """Rank r gets the r-th part, in an array of its own or in its own part of the argument."""
    for op, count, options in cases(dtype, comm.size):
        total = count * comm.size
        mine = contributions(dtype, op, total, comm.size)[comm.rank]
        own = slice(comm.rank * count, (comm.rank + 1) * count)
        expected = reduction(dtype, op, total, comm.size).part(own.start, own.stop)
        what = (algorithm, dtype, op, count)

        def given(mine=mine, op=op, options=options, own=own) -> np.ndarray:
            array, out = mine.copy(), np.zeros_like(mine[own])
            result = comm.reduce_scatter(array, out, op=op, algorithm=algorithm, **options)
            assert result is out
            assert bits(array) == bits(mine)
            return out

        def in_place(mine=mine, op=op, options=options, own=own) -> np.ndarray:
            array = mine.copy()
            comm.reduce_scatter(array, array[own], op=op, algorithm=algorithm, **options)
            return array[own]

        for form in (given, in_place):
            expected.require(repeated(form, dtype, what), (*what, form.__name__))
