"""Messages from rank to rank."""

from __future__ import annotations

import numpy as np
import pytest
from contributions import DTYPES, bits, random_bits
from mpi4py import MPI

import pycoll

pytestmark = pytest.mark.skipif(MPI.COMM_WORLD.size < 2, reason="one rank has no peer")


def neighbours(comm: pycoll.Communicator) -> tuple[int, int]:
    return (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit_arrives(comm: pycoll.Communicator, dtype: str) -> None:
    """Round the ring, of all lengths from nothing to what MPI does not send at once."""
    right, left = neighbours(comm)
    for count in (0, 1, 1000, 100_000):
        arrays = random_bits(dtype, count, comm.size)
        sending = comm.send(arrays[comm.rank], right, async_op=True)
        out = np.zeros(count, DTYPES[dtype])
        assert comm.recv(out, left) is out
        assert sending.wait() is None
        assert bits(out) == bits(arrays[left]), count


def test_blocking_calls(comm: pycoll.Communicator) -> None:
    """A blocking send meets a blocking recv, of whatever shape and dtype have as many bytes."""
    if comm.rank == 0:
        assert comm.send(np.arange(6, dtype=np.int32).reshape(2, 3), 1) is None
    elif comm.rank == 1:
        out = np.zeros(24, np.uint8)
        comm.recv(out, 0)
        np.testing.assert_array_equal(out.view(np.int32), np.arange(6))


def test_tags_tell_messages_apart(comm: pycoll.Communicator) -> None:
    """Messages are received by tag, in another order than they were sent in."""
    right, left = neighbours(comm)
    tags = [0, 7, comm.tags - 1]
    sending = [comm.send(np.array([tag, comm.rank]), right, tag, async_op=True) for tag in tags]
    for tag in reversed(tags):
        np.testing.assert_array_equal(comm.recv(np.zeros(2, int), left, tag), [tag, left])
    for work in sending:
        work.wait()


def test_messages_of_one_tag_keep_their_order(comm: pycoll.Communicator) -> None:
    """100 messages of different lengths, short and long, arrive in the order of sending."""
    right, left = neighbours(comm)
    lengths = [1 + 7919 * number % 5000 for number in range(100)]
    sending = [
        comm.send(np.full(length, number, np.int32), right, async_op=True)
        for number, length in enumerate(lengths)
    ]
    arrays = [np.zeros(length, np.int32) for length in lengths]
    receiving = [comm.recv(array, left, async_op=True) for array in arrays]
    for number in reversed(range(100)):
        assert receiving[number].wait() is arrays[number]
        assert (arrays[number] == number).all()
    for work in sending:
        work.wait()


def test_messages_do_not_meet_those_of_others(
    comm: pycoll.Communicator, mpi: MPI.Intracomm
) -> None:
    """The program's MPI messages, other communicators and collectives are kept apart."""
    right, left = neighbours(comm)
    other = comm.dup()
    mine, theirs, programs = (np.zeros(1, int) for _ in range(3))
    receiving = [
        comm.recv(mine, left, async_op=True),
        other.recv(theirs, left, async_op=True),
    ]
    requests = [mpi.Irecv(programs, left), mpi.Isend(np.array([3]), right)]
    total = comm.all_reduce(np.array([1]), async_op=True)
    sending = [
        other.send(np.array([2]), right, async_op=True),
        comm.send(np.array([1]), right, async_op=True),
    ]
    for work in (*receiving, *sending):
        work.wait()
    MPI.Request.Waitall(requests)
    assert (mine[0], theirs[0], programs[0]) == (1, 2, 3)
    assert total.wait() == [comm.size]
    other.close()


def test_all_pairs_at_once(comm: pycoll.Communicator) -> None:
    """Every rank exchanges with every other one, all messages outstanding together."""
    others = [rank for rank in range(comm.size) if rank != comm.rank]
    arrays = {rank: np.zeros(500, np.int64) for rank in others}
    works = [comm.recv(arrays[rank], rank, async_op=True) for rank in others]
    for rank in others:
        message = np.full(500, comm.rank * 100 + rank)
        works.append(comm.send(message, rank, async_op=True))
    for work in works:
        work.wait()
    for rank in others:
        assert (arrays[rank] == rank * 100 + comm.rank).all()


def test_wait_some_serves_whoever_comes(comm: pycoll.Communicator) -> None:
    """Rank 0 gets three messages of each other rank, in whatever order the ranks send them."""
    if comm.rank > 0:
        for number in range(3):
            comm.send(np.array([comm.rank, number]), 0)
        return
    arrays = {peer: np.zeros(2, int) for peer in range(1, comm.size)}
    works = {peer: comm.recv(array, peer, async_op=True) for peer, array in arrays.items()}
    heard: dict[int, list[int]] = {peer: [] for peer in arrays}
    while works:
        peers = list(works)
        for place in pycoll.wait_some([works[peer] for peer in peers], timeout=60):
            peer = peers[place]
            assert arrays[peer][0] == peer
            heard[peer].append(int(arrays[peer][1]))
            del works[peer]
            if len(heard[peer]) < 3:
                works[peer] = comm.recv(arrays[peer], peer, async_op=True)
    assert heard == {peer: [0, 1, 2] for peer in arrays}


def test_wait_some_in_vain(comm: pycoll.Communicator) -> None:
    """It ends in time, and refuses what it cannot wait for."""
    right, left = neighbours(comm)
    other = comm.dup()
    mine, theirs = (each.recv(np.zeros(1), left, async_op=True) for each in (comm, other))
    with pytest.raises(TimeoutError, match=f"rank {comm.rank}: none of 1 operations done after"):
        pycoll.wait_some([mine], timeout=0)
    with pytest.raises(ValueError, match="the works are of several communicators"):
        pycoll.wait_some([mine, theirs])
    with pytest.raises(ValueError, match="'works' is empty"):
        pycoll.wait_some([])
    with pytest.raises(ValueError, match="timeout"):
        pycoll.wait_some([mine], timeout=-1)
    comm.barrier()
    comm.send(np.ones(1), right)
    other.send(np.ones(1), right)
    assert pycoll.wait_some([mine]) == [0]
    theirs.wait()
