"""Collectives with a length for each rank."""

from __future__ import annotations

import numpy as np
import pytest
from contributions import (
    DTYPES,
    algorithms_of,
    bits,
    contributions,
    random_bits,
    reduction,
    seeded,
)

import pycoll


def uneven_counts(size: int) -> list[list[int]]:
    """Lengths per rank: random ones, with zeros, all at one rank, none at all."""
    rng = seeded("counts", size)
    return [
        rng.integers(0, 40, size).tolist(),
        [rank % 3 * 7 for rank in range(size)],
        [23 * (rank == size - 1) for rank in range(size)],
        [size - rank for rank in range(size)],
        [0] * size,
    ]


def own_part(counts: list[int], rank: int) -> slice:
    return slice(sum(counts[:rank]), sum(counts[: rank + 1]))


@pytest.mark.parametrize("dtype", ["uint8", "bfloat16", "float32", "int64"])
@pytest.mark.parametrize("algorithm", algorithms_of("reduce_scatter", with_counts=True))
def test_reduce_scatter_v(comm: pycoll.Communicator, algorithm: str, dtype: str) -> None:
    """Rank r gets counts[r] elements of the fold, in a new array, a given one, and in place."""
    for counts in uneven_counts(comm.size):
        total, own = sum(counts), own_part(counts, comm.rank)
        for op in ("sum", "max", "avg"):
            mine = contributions(dtype, op, total, comm.size)[comm.rank]
            expected = reduction(dtype, op, total, comm.size).part(own.start, own.stop)
            array, out = mine.copy(), np.zeros_like(mine[own])
            new = comm.reduce_scatter_v(array, counts, op=op, algorithm=algorithm)
            comm.reduce_scatter_v(array, counts, out, op=op, algorithm=algorithm)
            assert bits(array) == bits(mine)
            comm.reduce_scatter_v(array, counts, array[own], op=op, algorithm=algorithm)
            for result in (new, out, array[own]):
                expected.require(result, (counts, op))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", algorithms_of("all_gather", with_counts=True))
def test_all_gather_v(comm: pycoll.Communicator, algorithm: str, dtype: str) -> None:
    """All ranks get all parts, in a new array, a given one, and in place."""
    for counts in uneven_counts(comm.size):
        whole = random_bits(dtype, sum(counts), 1)[0]
        own = own_part(counts, comm.rank)
        new = comm.all_gather_v(whole[own], counts, algorithm=algorithm)
        out, shared = np.zeros_like(whole), np.zeros_like(whole)
        shared[own] = whole[own]
        comm.all_gather_v(whole[own], counts, out, algorithm=algorithm)
        comm.all_gather_v(shared[own], counts, shared, algorithm=algorithm)
        assert bits(new) == bits(out) == bits(shared) == bits(whole), counts


@pytest.mark.parametrize("algorithm", algorithms_of("gather", with_counts=True))
def test_gather_v_and_back(comm: pycoll.Communicator, algorithm: str) -> None:
    """gather_v puts parts of any length together at any root; scatter_v hands them out again."""
    for number, counts in enumerate(uneven_counts(comm.size)):
        root = number % comm.size
        whole = random_bits("int32", sum(counts), 1)[0]
        own = own_part(counts, comm.rank)
        gathered = comm.gather_v(whole[own], counts, root=root, algorithm=algorithm)
        out = np.zeros_like(whole[own])
        comm.scatter_v(gathered, counts, out, root=root)
        assert bits(out) == bits(whole[own])
        if comm.rank == root:
            assert bits(gathered) == bits(whole), (counts, root)
        else:
            assert gathered is None


@pytest.mark.parametrize("algorithm", algorithms_of("scatter", with_counts=True))
def test_scatter_v(comm: pycoll.Communicator, algorithm: str) -> None:
    """Rank r gets counts[r] elements; the root may leave out the target, or be in place."""
    for number, counts in enumerate(uneven_counts(comm.size)):
        root = number % comm.size
        whole = random_bits("float64", sum(counts), 1)[0]
        own = own_part(counts, comm.rank)
        out = np.zeros_like(whole[own])
        if comm.rank == root:
            array = whole.copy()
            out = comm.scatter_v(array, counts, root=root, algorithm=algorithm)
            comm.scatter_v(array, counts, array[own], root=root, algorithm=algorithm)
            assert bits(array) == bits(whole)
        else:
            comm.scatter_v(None, counts, out, root=root, algorithm=algorithm)
            comm.scatter_v(None, counts, out, root=root, algorithm=algorithm)
        assert bits(out) == bits(whole[own]), (counts, root)


@pytest.mark.parametrize("algorithm", algorithms_of("all_to_all", with_counts=True))
def test_all_to_all_v(comm: pycoll.Communicator, algorithm: str) -> None:
    """Random matrices of lengths, with empty rows, columns and diagonals."""
    size, rank = comm.size, comm.rank
    for trial in range(6):
        lengths = seeded("matrix", trial, size).integers(0, 30, (size, size))
        if trial == 1:
            np.fill_diagonal(lengths, 0)
        elif trial == 2:
            lengths[0] = 0
        elif trial == 3:
            lengths[:, size - 1] = 0
        elif trial == 4:
            lengths[:] = 0
        # Element k of what a sends to b.
        parts = [
            [np.arange(lengths[a, b]) + 1000 * (a * size + b) for b in range(size)]
            for a in range(size)
        ]
        array = np.concatenate(parts[rank]).astype(np.int32)
        expected = np.concatenate([parts[a][rank] for a in range(size)]).astype(np.int32)
        sent, received = lengths[rank].tolist(), lengths[:, rank].tolist()
        new = comm.all_to_all_v(array, sent, received, algorithm=algorithm)
        out = np.zeros_like(expected)
        assert comm.all_to_all_v(array, sent, received, out, algorithm=algorithm) is out
        assert bits(new) == bits(out) == bits(expected), trial


def test_counts_are_rows(comm: pycoll.Communicator) -> None:
    """Lengths count along the first axis; results keep the other axes."""
    size, rank = comm.size, comm.rank
    counts = [r + 1 for r in range(size)]
    mine = np.full((rank + 1, 3), rank, np.float32)
    gathered = comm.all_gather_v(mine, counts)
    np.testing.assert_array_equal(gathered, np.repeat(np.arange(size), counts)[:, None] + [[0] * 3])
    part = comm.reduce_scatter_v(gathered, counts)
    np.testing.assert_array_equal(part, mine * size)
    at_root = comm.gather_v(mine, counts)
    out = np.empty_like(mine)
    comm.scatter_v(at_root, counts, out)
    np.testing.assert_array_equal(out, mine)
    back = comm.all_to_all_v(gathered, counts, [rank + 1] * size)
    assert back.shape == ((rank + 1) * size, 3)
    assert (back == rank).all()


@pytest.mark.parametrize("kind", [tuple, np.array, lambda counts: np.array(counts, np.uint8)])
def test_counts_of_any_kind_of_integers(comm: pycoll.Communicator, kind: type) -> None:
    """Tuples and NumPy arrays will do, also of integers that their own sum would overflow."""
    counts = kind([200] * comm.size)
    whole = comm.all_gather_v(np.full(200, comm.rank, np.uint8), counts)
    np.testing.assert_array_equal(whole, np.repeat(np.arange(comm.size), 200))
