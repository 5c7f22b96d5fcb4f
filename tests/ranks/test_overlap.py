"""Many operations at once, from several threads, with arrays and handles that are dropped."""

from __future__ import annotations

import random
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from contributions import bits, contributions, ops_of, random_bits, reduction, seeded
from mpi4py import MPI

import pycoll

OPERATIONS = 50
COMMUNICATORS = 3
THREADS = 2


@dataclass
class Operation:
    """One of the operations outstanding; the same on all ranks."""

    start: Callable[[pycoll.Communicator], pycoll.Work]
    check: Callable[[np.ndarray], None]
    communicator: int
    thread: int
    turn: int  # among those on its communicator


def reduction_operation(rng: np.random.Generator, kind: str, rank: int, size: int):
    dtype = str(rng.choice(["int8", "uint64", "float16", "bfloat16", "float32", "float64"]))
    op, count = str(rng.choice(ops_of(dtype))), int(rng.choice([0, 1, 37, 5000]))
    root = int(rng.integers(size))
    total = count * size if kind == "reduce_scatter" else count
    mine = contributions(dtype, op, total, size)[rank]
    expected = reduction(dtype, op, total, size)
    if kind == "reduce_scatter":
        expected = expected.part(rank * count, (rank + 1) * count)

    def start(comm: pycoll.Communicator) -> pycoll.Work:
        options = {"root": root} if kind == "reduce" else {}
        return getattr(comm, kind)(mine.copy(), op=op, async_op=True, **options)

    def check(result: np.ndarray | None) -> None:
        if kind == "reduce" and rank != root:
            assert result is None
        else:
            expected.require(result, (kind, dtype, op, count))

    return start, check


def moving_operation(rng: np.random.Generator, kind: str, rank: int, size: int):
    count, root = int(rng.choice([0, 1, 37, 5000])), int(rng.integers(size))
    arrays = random_bits("int32", count, size)
    longer = random_bits("int32", count * size, size)
    own = slice(rank * count, (rank + 1) * count)
    lengths = rng.integers(0, 20, size).tolist()
    ragged = np.repeat(np.arange(size), lengths)
    start, expected = {
        "broadcast": (
            lambda comm: comm.broadcast(arrays[rank].copy(), root=root, async_op=True),
            arrays[root],
        ),
        "all_gather": (lambda comm: comm.all_gather(arrays[rank].copy(), async_op=True), arrays),
        "gather": (
            lambda comm: comm.gather(arrays[rank].copy(), root=root, async_op=True),
            arrays if rank == root else None,
        ),
        "scatter": (
            lambda comm: comm.scatter(
                longer[root].copy() if rank == root else None,
                np.zeros(count, np.int32),
                root=root,
                async_op=True,
            ),
            longer[root][own],
        ),
        "all_to_all": (
            lambda comm: comm.all_to_all(longer[rank].copy(), async_op=True),
            longer.reshape(size, size, count)[:, rank],
        ),
        "all_gather_v": (
            lambda comm: comm.all_gather_v(np.full(lengths[rank], rank), lengths, async_op=True),
            ragged,
        ),
        "barrier": (lambda comm: comm.barrier(async_op=True), None),
    }[kind]

    def check(result: np.ndarray | None) -> None:
        if expected is None:
            assert result is None
        else:
            assert bits(result) == bits(expected), (kind, count)

    return start, check


def random_operations(seed: int, rank: int, size: int) -> list[Operation]:
    rng = seeded("overlap", seed, size)
    reductions = ["all_reduce", "reduce", "reduce_scatter"]
    moves = [
        "broadcast",
        "all_gather",
        "gather",
        "scatter",
        "all_to_all",
        "all_gather_v",
        "barrier",
    ]
    turns = [0] * COMMUNICATORS
    operations = []
    for _ in range(OPERATIONS):
        kind = str(rng.choice(reductions + moves))
        make = reduction_operation if kind in reductions else moving_operation
        communicator, thread = int(rng.integers(COMMUNICATORS)), int(rng.integers(THREADS))
        start, check = make(rng, kind, rank, size)
        operations.append(Operation(start, check, communicator, thread, turns[communicator]))
        turns[communicator] += 1
    return operations


@pytest.mark.parametrize("seed", range(3))
def test_fifty_operations_on_three_communicators_from_two_threads(
    comm: pycoll.Communicator, seed: int
) -> None:
    """All are started before any is waited for; each rank completes them in an order of its own."""
    communicators = [comm.dup() for _ in range(COMMUNICATORS)]
    operations = random_operations(seed, comm.rank, comm.size)
    turns, turn_taken = [0] * COMMUNICATORS, threading.Condition()
    all_started = threading.Barrier(THREADS)
    failures: list[BaseException] = []

    def run(thread: int) -> None:
        started = []
        for operation in operations:
            if operation.thread != thread:
                continue
            at = operation.communicator
            with turn_taken:
                turn_taken.wait_for(
                    lambda at=at, turn=operation.turn: failures or turns[at] == turn
                )
                started.append((operation, operation.start(communicators[at])))
                turns[at] += 1
                turn_taken.notify_all()
        all_started.wait()
        random.Random(f"{seed} {comm.rank} {thread}").shuffle(started)
        for operation, work in started:
            operation.check(work.wait())

    def guarded(thread: int) -> None:
        try:
            run(thread)
        except BaseException as failure:
            with turn_taken:
                failures.append(failure)
                turn_taken.notify_all()
            all_started.abort()

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for communicator in communicators:
        communicator.close()


def test_test_completes_an_operation(comm: pycoll.Communicator) -> None:
    """test() alone, without wait, gets an operation done; wait then returns at once."""
    array = np.full(3000, comm.rank)
    work = comm.all_reduce(array, async_op=True)
    while not work.test():
        pass
    assert (array == sum(range(comm.size))).all()
    assert work.wait(timeout=0) is array
    assert work.test()


def test_a_wait_that_is_too_short_can_be_repeated(
    comm: pycoll.Communicator, mpi: MPI.Intracomm
) -> None:
    """It raises TimeoutError, says for whom it waited, and leaves operation and array alone."""
    if comm.size == 1:
        pytest.skip("one rank waits for nobody")
    array = np.full(10, 1.0)
    if comm.rank == 0:
        work = comm.all_reduce(array, algorithm="ring", async_op=True)
        try:
            for timeout in (0, 0.001):
                with pytest.raises(
                    pycoll.TimeoutError, match=r"^rank 0: all_reduce .* not done after .* rank \d"
                ):
                    work.wait(timeout)
            with pytest.raises(TimeoutError):  # Python's own, too
                work.wait(0)
            assert not work.test()
        finally:
            mpi.bcast("go")
    else:
        mpi.bcast(None)
        work = comm.all_reduce(array, algorithm="ring", async_op=True)
    assert work.wait() is array
    assert (array == comm.size).all()


def test_arrays_live_as_long_as_their_operations(
    comm: pycoll.Communicator, mpi: MPI.Intracomm
) -> None:
    """Arrays that the caller drops are kept, and let go once the operation is over."""
    if comm.size == 1:
        pytest.skip("one rank is done at once")
    if comm.rank > 0:
        mpi.bcast(None)
        comm.all_gather(np.full(50_000, comm.rank))
        return
    array = np.full(50_000, 0)
    alive = weakref.ref(array)
    work = comm.all_gather(array, async_op=True)
    del array
    was_alive = alive() is not None
    noise = [np.full(50_000, 77) for _ in range(20)]  # would take over memory that was freed
    mpi.bcast("go")
    np.testing.assert_array_equal(work.wait(), np.repeat(np.arange(comm.size), 50_000))
    assert was_alive
    assert alive() is None
    assert noise


def test_memory_may_be_resized_once_the_operation_is_over(comm: pycoll.Communicator) -> None:
    """A bytearray is held while the operation runs, and given back before wait returns."""
    for _ in range(50):
        array = bytearray([comm.rank] * 100)
        work = comm.all_reduce(array, op="max", async_op=True)
        work.wait()
        array.extend(b"more")
        comm.all_reduce(array, op="max")
        array.extend(b"more")
        work = comm.broadcast(array, async_op=True)
        while not work.test():
            pass
        del array[:]


def test_other_python_threads_run_while_one_waits(
    comm: pycoll.Communicator, mpi: MPI.Intracomm
) -> None:
    """The main thread waits for a message that its peer sends only when another thread asks for it.

    Python threads do not take turns here unless one lets go of the interpreter: without that the
    wait would end at its timeout.
    """
    if comm.size == 1:
        pytest.skip("one rank waits for nobody")
    if comm.rank == 1:
        assert mpi.recv(source=0) == "go"
        comm.send(np.array([5]), 0)
    elif comm.rank == 0:
        waiting = threading.Event()

        def ask() -> None:
            waiting.wait()
            mpi.send("go", 1)

        interval = sys.getswitchinterval()
        asking = threading.Thread(target=ask)
        asking.start()
        sys.setswitchinterval(1000)
        try:
            receiving = comm.recv(np.zeros(1, int), 1, async_op=True)
            waiting.set()
            assert receiving.wait() == [5]
        finally:
            sys.setswitchinterval(interval)
        asking.join()
