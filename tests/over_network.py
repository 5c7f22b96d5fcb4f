"""Run on every rank of an mpirun over two hosts: calls over a network, and what they put on it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import network
import numpy as np
import pytest

import pycoll

COUNT = 1_000_003


def sent_through(device: str) -> int:
    """Return how many bytes this host has sent, headers included."""
    return int(Path(f"/sys/class/net/{device}/statistics/tx_bytes").read_text())


def all_reduce(comm: pycoll.Communicator) -> None:
    """Each host sends its part of the sum once, its ranks sharing that, and not much more."""
    array = comm.zeros(COUNT)
    array += comm.rank
    comm.barrier()
    on_wire, by_rank = sent_through(network.WIRE), comm.sent_bytes
    comm.all_reduce(array, algorithm="hierarchical")
    sent = comm.sent_bytes - by_rank
    assert (array == comm.size * (comm.size - 1) / 2).all()
    # Every rank has heard of the others' last message by now, so all of them are counted.
    comm.barrier()
    on_wire = sent_through(network.WIRE) - on_wire
    of_host = comm.split(comm.node)
    assert of_host is not None
    total = int(of_host.all_reduce(np.array([sent]))[0])
    assert total == array.nbytes
    assert total <= on_wire < 1.1 * total, (total, on_wire)


def collectives(comm: pycoll.Communicator) -> None:
    """What auto chooses between two hosts comes to the right result."""
    rank, size = comm.rank, comm.size
    ranks = np.arange(size)
    own = np.full(5, rank)
    assert (comm.all_gather(own) == np.repeat(ranks, 5)).all()
    assert (comm.broadcast(own.copy(), root=size - 1) == size - 1).all()
    assert (comm.reduce_scatter(np.repeat(ranks, 5)) == rank * size).all()
    assert (comm.all_to_all(ranks + rank * size) == ranks * size + rank).all()
    other = (rank + size // 2) % size
    work = comm.send(own, other, async_op=True)
    assert (comm.recv(np.empty_like(own), other) == other).all()
    work.wait()


def mismatch(comm: pycoll.Communicator) -> None:
    """Every rank hears of a call that differs on the other host."""
    os.environ["PYCOLL_CHECK"] = "1"
    checked, odd = comm.dup(), comm.size - 1
    with pytest.raises(pycoll.CollectiveError, match=rf"rank {odd} called all_reduce\(float64, 9,"):
        checked.all_reduce(np.ones(9 if comm.rank == odd else 8))


def main() -> None:
    comm = pycoll.world()
    assert (comm.node_count, comm.local_size) == (2, comm.size // 2)
    assert comm.transport == "shared memory, mpi between nodes"
    assert socket.gethostname() == f"host{comm.node}"
    all_reduce(comm)
    collectives(comm)
    mismatch(comm)
    comm.barrier()
    if comm.rank == 0:
        print("all well over the network", flush=True)


if __name__ == "__main__":
    main()
