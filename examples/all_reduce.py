"""Average a gradient over all ranks: ``mpirun -n 4 python examples/all_reduce.py``."""

from __future__ import annotations

import numpy as np

import pycoll

comm = pycoll.world()
gradient = np.full(1_000_000, comm.rank, dtype=np.float32)
comm.all_reduce(gradient, op="avg")  # in place: 1.5 everywhere on 4 ranks
work = comm.all_reduce(gradient, op="sum", async_op=True)  # goes on while you compute
norms = comm.all_gather(np.array([comm.rank + 0.5]))  # one entry per rank
total = work.wait()
if comm.rank == 0:
    print(total[0], norms)
