"""Making communicators, and ending them."""

from __future__ import annotations

import gc
import os
import time

import numpy as np
import pytest
from mpi4py import MPI

import pycoll
from pycoll.topology import find_topology, split_by_node, usable_cores


def total(comm: pycoll.Communicator, value: int) -> int:
    return int(comm.all_reduce(np.array([value]))[0])


def test_rank_and_size_are_those_of_mpi(comm: pycoll.Communicator, mpi: MPI.Intracomm) -> None:
    """And the topology is one host, on which all ranks are."""
    assert (comm.rank, comm.size) == (mpi.rank, mpi.size)
    assert (comm.local_rank, comm.local_size) == (mpi.rank, mpi.size)
    assert (comm.node, comm.node_count) == (0, 1)
    alone = comm.size == 1 or os.environ.get("PYCOLL_SHARED_MEMORY") == "0"
    assert comm.transport == ("mpi" if alone else "shared memory")
    assert comm.timeout > 0
    assert f"rank {comm.rank} of {comm.size}" in repr(comm)


def test_topology(mpi: MPI.Intracomm) -> None:
    """All ranks are on one node."""
    with split_by_node(mpi) as local:
        topology = find_topology(mpi, local)
    assert topology.nodes == []
    assert topology.cores_per_node == len(set().union(*mpi.allgather(usable_cores())))
    assert topology.oversubscribed == (mpi.size > topology.cores_per_node)


def test_split_by_color(comm: pycoll.Communicator) -> None:
    """Ranks of a color make a communicator, numbered as before, and talk among themselves only."""
    # However few they are, the others go on using the cores.
    alone = comm.split(comm.rank)
    assert alone is not None
    assert alone.oversubscribed == comm.oversubscribed
    alone.close()
    color = comm.rank % 2
    members = [rank for rank in range(comm.size) if rank % 2 == color]
    with comm.split(color) as part:
        assert (part.rank, part.size) == (members.index(comm.rank), len(members))
        assert (part.local_rank, part.local_size) == (part.rank, part.size)
        assert total(part, comm.rank) == sum(members)
        assert part.timeout == comm.timeout
    assert part.closed


def test_split_by_key(comm: pycoll.Communicator) -> None:
    """Keys, negative ones too, say who comes first."""
    with comm.split(0, key=-comm.rank) as backwards:
        assert backwards.rank == comm.size - 1 - comm.rank
        np.testing.assert_array_equal(
            backwards.all_gather(np.array([comm.rank])), np.arange(comm.size)[::-1]
        )


def test_split_leaves_out_who_passes_none(comm: pycoll.Communicator) -> None:
    """Rank 0 is in no new communicator; the others are in one without it."""
    part = comm.split(None if comm.rank == 0 else 5)
    if comm.rank == 0:
        assert part is None
    else:
        assert part.size == comm.size - 1
        assert total(part, 1) == comm.size - 1


def test_nested_splits(comm: pycoll.Communicator) -> None:
    """Parts of parts work, while their parents do and after these are closed."""
    half = comm.split(comm.rank < comm.size // 2)
    quarter = half.split(half.rank < half.size // 2)
    assert total(comm, 1) == comm.size
    assert total(half, 1) == half.size
    assert total(quarter, 1) == quarter.size
    half.close()
    assert total(quarter, 1) == quarter.size
    assert total(comm, 1) == comm.size
    quarter.close()


def test_dup_is_for_calls_in_another_order(comm: pycoll.Communicator) -> None:
    """Calls on two communicators may be made in different orders on different ranks."""
    with comm.dup() as other:
        assert (other.rank, other.size) == (comm.rank, comm.size)
        first, second = (comm, other) if comm.rank % 2 == 0 else (other, comm)
        works = {c: c.all_reduce(np.array([1]), async_op=True) for c in (first, second)}
        assert works[comm].wait() == works[other].wait() == [comm.size]


def test_closing(comm: pycoll.Communicator) -> None:
    """After close every call raises, naming itself; closing again does nothing."""
    other = comm.dup()
    work = other.all_reduce(np.array([1]), async_op=True)
    other.close()
    assert work.wait() == [comm.size]
    assert other.closed
    other.close()
    array = np.zeros(comm.size)
    calls = {
        "all_reduce": lambda: other.all_reduce(array),
        "all_to_all": lambda: other.all_to_all(array),
        "barrier": lambda: other.barrier(),
        "split": lambda: other.split(0),
        "dup": lambda: other.dup(),
    }
    if comm.size > 1:
        calls["send"] = lambda: other.send(array, (comm.rank + 1) % comm.size)
        calls["recv"] = lambda: other.recv(array, (comm.rank + 1) % comm.size)
    for name, call in calls.items():
        with pytest.raises(
            pycoll.CollectiveError, match=rf"^rank {comm.rank}: {name}: .* is closed; make a new"
        ):
            call()
    assert total(comm, 1) == comm.size


def test_leaving_a_with_block_by_an_exception_does_not_wait(comm: pycoll.Communicator) -> None:
    """Rank 0 leaves with an operation outstanding that its peers have not joined yet."""
    other = comm.dup()
    if comm.rank == 0:
        work = other.all_reduce(np.array([1]), async_op=True)
        with pytest.raises(ZeroDivisionError), other:
            raise ZeroDivisionError
        assert not other.closed
    else:
        comm.barrier()
        work = other.all_reduce(np.array([1]), async_op=True)
    if comm.rank == 0:
        comm.barrier()
    assert work.wait() == [comm.size]
    other.close()


def test_world_again_after_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """world() is one object until it is closed, and a new one afterwards."""
    monkeypatch.setattr("pycoll.communicator._world", None)  # others may be using that
    first = pycoll.world()
    assert pycoll.world() is first
    first.close()
    second = pycoll.world()
    assert second is not first
    assert total(second, 1) == second.size


@pytest.mark.parametrize("ending", ["closed", "collected", "collected while outstanding"])
def test_ended_communicators_are_given_back_to_mpi(comm: pycoll.Communicator, ending: str) -> None:
    """MPI has few communicators: it frees those that are closed, and those that nobody has."""
    freed = []
    key = MPI.Comm.Create_keyval(delete_fn=lambda *_: freed.append(True))
    other = comm.dup()
    other._mpi.Set_attr(key, None)
    if ending == "closed":
        other.close()
    elif ending == "collected":
        assert total(other, 1) == comm.size
    else:
        work = other.all_reduce(np.ones(10_000), async_op=True)
        other = None
        assert (work.wait() == comm.size).all()
        work = None
    other = None
    # The progress thread may be having a last look at what was outstanding.
    deadline = time.monotonic() + 30
    while not freed and time.monotonic() < deadline:
        pass
    assert freed
    MPI.Comm.Free_keyval(key)


def test_operations_outlive_the_communicator_object(comm: pycoll.Communicator) -> None:
    """A Work can be waited for when the communicator it belongs to is dropped."""
    array, other = np.array([1]), comm.dup()
    work = other.all_reduce(array, async_op=True)
    del other
    assert work.wait() is array
    assert array == [comm.size]


def test_operations_outlive_their_handles(comm: pycoll.Communicator) -> None:
    """Operations whose Work is dropped complete; close waits for them."""
    other = comm.dup()
    arrays = [np.full(1000, number) for number in range(5)]
    for array in arrays:
        other.all_reduce(array, async_op=True)
    other.close()
    for number, array in enumerate(arrays):
        assert (array == number * comm.size).all()


def test_from_a_communicator_of_mpi4py(comm: pycoll.Communicator, mpi: MPI.Intracomm) -> None:
    """Any intracommunicator will do; it stays the program's own."""
    reversed_world = mpi.Split(0, -mpi.rank)
    part = pycoll.Communicator(reversed_world, timeout=30)
    assert (part.rank, part.size) == (reversed_world.rank, mpi.size)
    assert part.timeout == 30
    np.testing.assert_array_equal(part.all_gather(np.array([mpi.rank])), np.arange(mpi.size)[::-1])
    part.close()
    assert reversed_world.allreduce(1) == mpi.size
    reversed_world.Free()


def test_intercommunicators_are_refused(mpi: MPI.Intracomm) -> None:
    """So is the null communicator, with what to pass instead."""
    if mpi.size > 1:
        half = mpi.Split(mpi.rank % 2, mpi.rank)
        between = half.Create_intercomm(0, mpi, 1 - mpi.rank % 2)
        with pytest.raises(ValueError, match=r"'comm' is .*; pass an mpi4py intracommunicator"):
            pycoll.Communicator(between)
        between.Free()
        half.Free()
    for wrong in (MPI.COMM_NULL, 3, pycoll.world()):
        with pytest.raises(ValueError, match=r"'comm' is .*; pass an mpi4py intracommunicator"):
            pycoll.Communicator(wrong)


def test_one_rank_alone() -> None:
    """A communicator of one rank does everything, with nobody."""
    alone = pycoll.Communicator(MPI.COMM_SELF)
    assert (alone.rank, alone.size) == (0, 1)
    array = np.arange(3.0)
    for result in (
        alone.all_reduce(array, op="avg"),
        alone.all_gather(array),
        alone.reduce_scatter(array),
        alone.all_to_all(array),
        alone.gather(array),
        alone.scatter(array),
        alone.broadcast(array),
        alone.reduce(array, array.copy()),
    ):
        np.testing.assert_array_equal(result, [0, 1, 2])
    alone.barrier()


def test_freeing_a_communicator_calls_nobody_back(comm: pycoll.Communicator) -> None:
    """Garbage collection may do it where mpi4py, called by the program, holds its lock."""
    for made in (comm.dup(), comm.split(0)):
        assert made is not None
        assert MPI._comm_lock_table(made._mpi) == {}


def test_communicators_may_be_collected_while_another_one_is_made(
    comm: pycoll.Communicator,
) -> None:
    """Wherever in its making Python does so: it takes some hundred allocations."""
    if comm.size > 2:
        pytest.skip("it is about each rank by itself")
    before = gc.get_threshold()
    try:
        for allocations in range(1, 120):
            unreachable: list[object] = [comm.dup()]
            unreachable.append(unreachable)
            del unreachable
            gc.set_threshold(allocations)
            comm.dup()
            gc.set_threshold(*before)
    finally:
        gc.set_threshold(*before)
