"""MPI that was initialised for fewer threads than it could."""

from __future__ import annotations

import pytest
from launching import Mpirun

PROGRAM = """
import mpi4py
mpi4py.rc.thread_level = {level!r}
import numpy as np
from mpi4py import MPI
import pycoll

assert MPI.Query_thread() < MPI.THREAD_MULTIPLE
with pycoll.Communicator() as comm:
    arrays = [np.full(1000 * number, comm.rank + 1) for number in range(4)]
    works = [comm.all_reduce(array, async_op=True) for array in arrays]
    for work in reversed(works):
        assert (work.wait() == sum(range(comm.size + 1))).all()
    part = comm.split(comm.rank % 2)
    work = part.barrier(async_op=True)
    while not work.test():
        pass
    comm.all_reduce(np.ones(10), async_op=True)  # completed by the end of the block
print("done", flush=True)
"""


@pytest.mark.parametrize("level", ["single", "funneled", "serialized"])
def test_without_threads_in_mpi(mpirun: Mpirun, level: str) -> None:
    """Everything works; operations move on while the program waits in pycoll."""
    done = mpirun(3, "-c", PROGRAM.format(level=level), timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done") == 3
