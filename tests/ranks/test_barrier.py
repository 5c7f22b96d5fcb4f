"""A barrier opens when the last rank has come, and not before."""

from __future__ import annotations

import numpy as np
import pytest
from contributions import algorithms_of
from mpi4py import MPI

import pycoll
from pycoll import _core


@pytest.mark.parametrize("algorithm", algorithms_of("barrier"))
def test_opens_for_nobody_before_the_last_has_come(
    comm: pycoll.Communicator, mpi: MPI.Intracomm, algorithm: str
) -> None:
    """Each rank in turn comes last, once the others have tried in vain to get through."""
    if comm.size == 1:
        comm.barrier()
        return
    too_early = []
    for late in range(comm.size):
        if comm.rank != late:
            work = comm._call("barrier", None, None, None, algorithm=algorithm, async_op=True)
            if any(work.test() for _ in range(50)):
                too_early.append(late)
            mpi.send("tried", late)
        else:
            for _ in range(comm.size - 1):
                assert mpi.recv() == "tried"
            work = comm._call("barrier", None, None, None, algorithm=algorithm, async_op=True)
        assert work.wait() is None
    assert not too_early


def test_many_in_a_row(comm: pycoll.Communicator, mpi: MPI.Intracomm) -> None:
    """After the n-th barrier every rank has counted to n, and none beyond n + 1."""
    counts = MPI.Win.Allocate_shared(8 if mpi.rank == 0 else 0, 8, comm=mpi)
    shared = np.ndarray(1, np.int64, counts.Shared_query(0)[0])
    if mpi.rank == 0:
        shared[0] = 0
    mpi.Barrier()
    one, before = np.ones(1, np.int64), np.zeros(1, np.int64)
    counts.Lock_all()
    for number in range(1, 201):
        counts.Fetch_and_op(one, before, 0)
        counts.Flush(0)
        comm.barrier()
        counts.Sync()
        assert number * comm.size <= shared[0] <= (number + 1) * comm.size
    counts.Unlock_all()
    counts.Free()


def test_every_barrier_algorithm_is_tried() -> None:
    """The list above is not empty but for "auto"."""
    assert any(algorithm.collective == "barrier" for algorithm in _core.algorithms())
