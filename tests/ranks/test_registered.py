"""Registered memory: recognised, mixed with any other, and freed whenever a rank likes."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable

import numpy as np
import pytest
from contributions import algorithms_of, bits, seeded
from mpi4py import MPI

import pycoll
from pycoll import _core
from pycoll.shared_memory import private

Place = Callable[[pycoll.Communicator, int], np.ndarray]


def unaligned(memory: np.ndarray, count: int) -> np.ndarray:
    """Elements of float32 at an odd address."""
    return np.ndarray(count, np.float32, memory.data, offset=3)


#: Where a rank may have its array.
PLACES: dict[str, Place] = {
    "NumPy's": lambda comm, count: np.zeros(count, np.float32),
    "private": lambda comm, count: private(count, np.float32),
    "registered": lambda comm, count: comm.zeros(count),
    "slice": lambda comm, count: comm.zeros(count + 7)[5 : 5 + count],
    "unaligned": lambda comm, count: unaligned(private(4 * count + 4, np.uint8), count),
    "registered, unaligned": lambda comm, count: unaligned(
        comm.zeros(4 * count + 4, "uint8"), count
    ),
}


def values(count: int, ranks: int) -> np.ndarray:
    """Whole numbers, so that sums are exact in whatever order; one row a rank."""
    return seeded("registered", count, ranks).integers(-9, 9, (ranks, count)).astype(np.float32)


def test_slices_and_views_are_recognised(comm: pycoll.Communicator) -> None:
    """Whatever lies in memory from `empty` and `zeros` is registered; short copies are not."""
    array = comm.empty((6, 5), "float64")
    assert array.shape == (6, 5)
    assert array.dtype == np.float64
    assert array.flags.c_contiguous
    assert array.flags.writeable
    for view in (
        array,
        array[1:3],
        array[2, 3:],
        array.reshape(-1),
        array.view(np.uint8),
        unaligned(array.view(np.uint8).reshape(-1), 4),
        array[:0],
        comm.zeros(3, bool),
        comm.zeros(()),
    ):
        assert _core.is_registered(view)
    for other in (array.copy(), np.zeros(4), array + 1):
        assert not _core.is_registered(other)
    assert not comm.zeros(1000, "int16").any()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((-1,), ValueError), ((3, object), TypeError), ((3, "no such"), TypeError)],
)
def test_what_makes_no_sense(
    comm: pycoll.Communicator, arguments: tuple[object, ...], error: type[Exception]
) -> None:
    """Refused on the rank that asks, by name, without a word to the others."""
    for function in ("empty", "zeros"):
        with pytest.raises(error, match=f"^rank {comm.rank}: {function}: "):
            getattr(comm, function)(*arguments)


@pytest.mark.parametrize("in_place", ["nowhere", "everywhere", "on some ranks"])
@pytest.mark.parametrize("algorithm", ["auto", *algorithms_of("all_reduce")])
def test_any_mixture(comm: pycoll.Communicator, algorithm: str, in_place: str) -> None:
    """Each rank has its arrays wherever it likes; all end with the same sum."""
    names = list(PLACES)
    for count in (0, 1, 1000, 20_011):
        rows = values(count, comm.size)
        for shift in range(len(names)):
            # Either each rank another place, or one odd one among registered ones.
            own = names[(comm.rank + shift) % len(names)]
            if shift % 2 == 1:
                own = names[shift] if comm.rank == shift % comm.size else "registered"
            array = PLACES[own](comm, count)
            array[:] = rows[comm.rank]
            is_own = in_place == "everywhere" or (in_place != "nowhere" and comm.rank % 2 == 1)
            out = array if is_own else PLACES[names[shift]](comm, count)
            result = comm.all_reduce(array, None if is_own else out, algorithm=algorithm)
            assert result is out
            np.testing.assert_array_equal(out, rows.sum(axis=0))
            if not is_own:
                assert bits(array) == bits(rows[comm.rank])


def test_every_collective_on_registered_arrays(comm: pycoll.Communicator) -> None:
    """With one private array among them in every second round."""
    size, rank = comm.size, comm.rank
    count = 3001
    rows = values(size * count, size)
    own = slice(rank * count, (rank + 1) * count)
    for number in range(2 * size):
        root = number % size

        def make(length: int, number: int = number) -> np.ndarray:
            hidden = number % 2 == 1 and rank == number // 2 % size
            return private(length, np.float32) if hidden else comm.zeros(length)

        whole, part = make(size * count), make(count)
        whole[:] = rows[rank]
        assert comm.reduce_scatter(whole, part) is part
        np.testing.assert_array_equal(part, rows.sum(axis=0)[own])
        gathered = make(size * count)
        comm.all_gather(part, gathered)
        np.testing.assert_array_equal(gathered, rows.sum(axis=0))
        exchanged = make(size * count)
        comm.all_to_all(whole, exchanged)
        np.testing.assert_array_equal(exchanged.reshape(size, -1), rows[:, own])
        comm.reduce(whole, gathered if rank == root else None, root=root)
        if rank == root:
            np.testing.assert_array_equal(gathered, rows.sum(axis=0))
        comm.broadcast(whole, root=root)
        np.testing.assert_array_equal(whole, rows[root])
        comm.gather(part, exchanged if rank == root else None, root=root)
        if rank == root:
            np.testing.assert_array_equal(exchanged, rows.sum(axis=0))
        comm.scatter(whole if rank == root else None, part, root=root)
        np.testing.assert_array_equal(part, rows[root][own])


def test_freed_in_any_order_while_others_go_on(comm: pycoll.Communicator) -> None:
    """Each rank makes and drops arrays at random, some during calls on them."""
    own = random.Random(comm.rank)
    held: list[np.ndarray] = []
    for number in range(60):
        count = [1, 70, 5000, 200_000][number % 4]
        array = comm.empty(count)
        array.fill(comm.rank + number)
        work = comm.all_reduce(array, async_op=True)
        total = sum(range(comm.size)) + comm.size * number
        held += [comm.zeros(own.randrange(100_000)) for _ in range(own.randrange(3))]
        own.shuffle(held)
        del held[: own.randrange(len(held) + 1)]
        if own.random() < 0.5:
            del array  # the call holds it
        assert (work.wait() == total).all(), number
        assert not any(each.any() for each in held)


def test_used_after_the_communicator_is_closed(
    comm: pycoll.Communicator, mpi: MPI.Intracomm
) -> None:
    """Arrays outlive it, hold what they held, and serve another one."""
    short_lived = comm.dup()
    array = short_lived.empty(5000)
    array.fill(comm.rank)
    short_lived.all_reduce(array)
    short_lived.close()
    del short_lived
    gc.collect()
    mpi.Barrier()
    total = sum(range(comm.size))
    assert (array == total).all()
    assert _core.is_registered(array)
    comm.all_reduce(array)
    assert (array == total * comm.size).all()


def test_two_communicators_use_the_same_array(comm: pycoll.Communicator) -> None:
    """One after the other, with groups of their own."""
    array = comm.empty(10_000)
    with comm.dup() as other, comm.split(comm.rank % 2) as half:
        for number in range(5):
            array.fill(1)
            half.all_reduce(array)
            other.all_reduce(array, op="max")
            assert (array == (comm.size + 1) // 2).all(), number
            comm.broadcast(array, root=number % comm.size)
