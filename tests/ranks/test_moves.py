"""Collectives that only move data: every bit arrives, for every algorithm, dtype and length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from contributions import DTYPES, algorithms_of, bits, counts_for, random_bits

import pycoll


def cases(size: int) -> Iterator[tuple[str, int, int, dict[str, int]]]:
    """Dtypes, lengths, roots and options; one length is cut into chunks, some of them uneven."""
    for first, dtype in enumerate(DTYPES):
        for number, count in enumerate(counts_for(size)):
            yield dtype, count, (first + number) % size, {}
        yield dtype, 3001, first % size, {"chunk_bytes": 130 * DTYPES[dtype].itemsize}


@pytest.mark.parametrize("algorithm", algorithms_of("broadcast"))
def test_broadcast(comm: pycoll.Communicator, algorithm: str) -> None:
    """All ranks get the root's bits; the root may pass a read-only array."""
    for dtype, count, root, options in cases(comm.size):
        arrays = random_bits(dtype, count, comm.size)
        array = arrays[comm.rank].copy()
        array.flags.writeable = comm.rank != root
        result = comm.broadcast(array, root=root, algorithm=algorithm, **options)
        assert result is array
        assert bits(array) == bits(arrays[root]), (dtype, count, root)


@pytest.mark.parametrize("algorithm", algorithms_of("all_gather"))
def test_all_gather(comm: pycoll.Communicator, algorithm: str) -> None:
    """All ranks get all parts in order, in an array of its own and in place."""
    for dtype, count, _, options in cases(comm.size):
        arrays = random_bits(dtype, count, comm.size)
        mine = arrays[comm.rank]
        given = np.zeros(comm.size * count, DTYPES[dtype])
        assert comm.all_gather(mine, given, algorithm=algorithm, **options) is given
        shared = np.zeros(comm.size * count, DTYPES[dtype])
        own = shared[comm.rank * count : (comm.rank + 1) * count]
        own[:] = mine
        comm.all_gather(own, shared, algorithm=algorithm, **options)
        assert bits(given) == bits(shared) == bits(arrays), (dtype, count)


@pytest.mark.parametrize("algorithm", algorithms_of("gather"))
def test_gather(comm: pycoll.Communicator, algorithm: str) -> None:
    """The root gets all parts in order, in place too; the others get None."""
    for dtype, count, root, _ in cases(comm.size):
        arrays = random_bits(dtype, count, comm.size)
        mine = arrays[comm.rank]
        shared = np.zeros(comm.size * count, DTYPES[dtype])
        own = shared[comm.rank * count : (comm.rank + 1) * count]
        own[:] = mine
        new = comm.gather(mine, root=root, algorithm=algorithm)
        in_place = comm.gather(own, shared, root=root, algorithm=algorithm)
        if comm.rank == root:
            assert bits(new) == bits(in_place) == bits(arrays), (dtype, count, root)
        else:
            assert new is None
            assert in_place is None


@pytest.mark.parametrize("algorithm", algorithms_of("scatter"))
def test_scatter(comm: pycoll.Communicator, algorithm: str) -> None:
    """Rank r gets the r-th part, at the root in place too."""
    for dtype, count, root, _ in cases(comm.size):
        whole = random_bits(dtype, count * comm.size, 1)[0]
        own = slice(comm.rank * count, (comm.rank + 1) * count)
        out = np.zeros(count, DTYPES[dtype])
        is_root = comm.rank == root
        result = comm.scatter(whole if is_root else None, out, root=root, algorithm=algorithm)
        assert result is out
        assert bits(out) == bits(whole[own]), (dtype, count, root)
        array = whole.copy()
        out = array[own] if is_root else np.zeros(count, DTYPES[dtype])
        comm.scatter(array if is_root else None, out, root=root, algorithm=algorithm)
        assert bits(out) == bits(whole[own]), (dtype, count, root)
        assert bits(array) == bits(whole), (dtype, count, root)


@pytest.mark.parametrize("algorithm", algorithms_of("all_to_all"))
def test_all_to_all(comm: pycoll.Communicator, algorithm: str) -> None:
    """Part r of the result is what rank r sent here."""
    for dtype, count, _, _ in cases(comm.size):
        sent = random_bits(dtype, count * comm.size, comm.size)
        expected = sent.reshape(comm.size, comm.size, count)[:, comm.rank]
        out = np.zeros(count * comm.size, DTYPES[dtype])
        assert comm.all_to_all(sent[comm.rank], out, algorithm=algorithm) is out
        assert bits(out) == bits(expected), (dtype, count)


def test_rows_lie_side_by_side_along_the_first_axis(comm: pycoll.Communicator) -> None:
    """Results have the shape of the argument but for the first axis."""
    size, rank = comm.size, comm.rank
    rows = np.full((2, 3, 5), rank, np.int16)
    gathered = comm.all_gather(rows)
    assert gathered.shape == (2 * size, 3, 5)
    assert (gathered.reshape(size, -1) == np.arange(size)[:, None]).all()

    table = np.arange(size * 4 * 3, dtype=np.float32).reshape(size * 4, 3)
    part = comm.reduce_scatter(table)
    np.testing.assert_array_equal(part, table[4 * rank : 4 * rank + 4] * size)
    exchanged = comm.all_to_all(table + rank)
    assert exchanged.shape == table.shape
    np.testing.assert_array_equal(
        exchanged.reshape(size, 4, 3),
        table[4 * rank : 4 * rank + 4] + np.arange(size)[:, None, None],
    )
    at_root = comm.gather(rows, root=size - 1)
    assert at_root is None or at_root.shape == (2 * size, 3, 5)
    out = np.empty((4, 3), np.float32)
    comm.scatter(table if rank == 0 else None, out)
    np.testing.assert_array_equal(out, table[4 * rank : 4 * rank + 4])


def test_arrays_without_axes_count_as_one_element(comm: pycoll.Communicator) -> None:
    """0-d arrays can be reduced in place, and gathered into an array of one element a rank."""
    scalar = np.array(comm.rank, np.int64)
    np.testing.assert_array_equal(comm.all_gather(scalar), np.arange(comm.size))
    comm.all_reduce(scalar)
    assert scalar.shape == ()
    assert scalar == sum(range(comm.size))
    comm.broadcast(scalar, root=comm.size - 1)


def test_empty_arrays_of_any_shape(comm: pycoll.Communicator) -> None:
    """Arrays with no elements pass through every collective, and results have their shapes."""
    empty = np.empty((0, 4), np.float32)
    narrow = np.empty((3, 0), np.float32)
    assert comm.all_reduce(empty) is empty
    assert comm.all_gather(narrow).shape == (3 * comm.size, 0)
    assert comm.all_gather(empty).shape == (0, 4)
    assert comm.reduce_scatter(empty).shape == (0, 4)
    assert comm.all_to_all(empty).shape == (0, 4)
    assert comm.broadcast(empty) is empty
    assert comm.reduce(empty, op="max") is (empty if comm.rank == 0 else None)
    gathered = comm.gather(empty)
    assert gathered is None or gathered.shape == (0, 4)
    assert comm.scatter(empty if comm.rank == 0 else None, empty.copy()).shape == (0, 4)


@pytest.mark.parametrize("dtype", ["int16", "float16", "bfloat16", "float32", "float64", "uint64"])
@pytest.mark.parametrize("offset", [1, 3])
def test_unaligned_arrays(comm: pycoll.Communicator, dtype: str, offset: int) -> None:
    """Arrays that begin at an odd address are reduced as others are, within their bounds."""

    def unaligned() -> tuple[bytearray, np.ndarray]:
        memory = bytearray(b"\xa5" * (100 * DTYPES[dtype].itemsize + offset + 7))
        return memory, np.ndarray(100, DTYPES[dtype], memory, offset)

    for algorithm in algorithms_of("all_reduce"):
        memory, array = unaligned()
        other, out = unaligned()
        array[:] = np.arange(100)
        aligned = comm.all_reduce(array.copy(), algorithm=algorithm)
        comm.all_reduce(array, out, algorithm=algorithm)
        comm.all_reduce(array, algorithm=algorithm)
        assert bits(array) == bits(out) == bits(aligned)
        for bytes_around in (memory, other):
            assert set(bytes_around[:offset] + bytes_around[-7:]) == {0xA5}
