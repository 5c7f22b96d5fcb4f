"""Data parallelism: ``mpirun -n 4 python examples/data_parallel.py``.

A small network learns the exclusive or of two bits. Each rank works on its shard of every batch;
the gradients are summed over all ranks while the backward pass goes on.
"""

from __future__ import annotations

import numpy as np

import pycoll
from pycoll.train import MLP, AdamW, DataParallel, Initializer, MLPConfig, shard

comm = pycoll.world()
model = MLP(MLPConfig(widths=(2, 16, 2)), Initializer(seed=0))
criterion = model.criterion()
parallel = DataParallel(model, comm)  # zero=1: each rank keeps its share of the optimizer only
optimizer = AdamW(parallel.parameters, weight_decay=0.0)
generator = np.random.default_rng(0)  # the same on all ranks: all draw the same batches
for step in range(201):
    bits = generator.integers(2, size=(64, 2))
    mine = bits[shard(len(bits), comm.rank, comm.size)]
    scores, saved = model.forward((2 * mine - 1).astype(np.float32))
    loss, saved_loss = criterion.forward(scores, mine[:, 0] ^ mine[:, 1])
    with parallel.reducing():
        model.backward(saved, criterion.backward(saved_loss, 1 / len(bits)))
    parallel.step(optimizer, learning_rate=0.01)
    mean = comm.all_reduce(np.array([loss / len(bits)]))
    if comm.rank == 0 and step % 50 == 0:
        print(f"step {step}: loss {mean[0]:.4f}")
