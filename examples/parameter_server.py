"""Train with a parameter server: ``mpirun -n 4 python examples/parameter_server.py``.

The last rank keeps the parameters. The others learn the exclusive or of two bits, each at its own
pace, but never more than 4 steps ahead of the slowest.
"""

from __future__ import annotations

import numpy as np

import pycoll
from pycoll.train import MLP, SGD, CrossEntropy, Initializer, MLPConfig
from pycoll.train.ps import SSP, ParameterServer

comm = pycoll.world()
model, criterion = MLP(MLPConfig((2, 16, 2)), Initializer(seed=0)), CrossEntropy()
ps = ParameterServer(model, comm, SGD, servers=1, learning_rate=0.5, consistency=SSP(4))
if ps.is_server:
    print(ps.serve())
else:
    generator = np.random.default_rng(comm.rank)
    samples = 16 * len(ps.workers)  # of all workers
    with ps.working() as worker:
        for step in range(401):
            bits = generator.integers(2, size=(16, 2))
            scores, saved = model.forward((2 * bits - 1).astype(np.float32))
            loss, saved_loss = criterion.forward(scores, bits[:, 0] ^ bits[:, 1])
            with worker.pushing():
                model.backward(saved, criterion.backward(saved_loss, 1 / samples))
            if comm.rank == 0 and step % 100 == 0:
                print(f"step {step}: loss {loss / 16:.4f}")
