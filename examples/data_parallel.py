"""Data parallelism with a model of one's own: ``mpirun -n 4 python examples/data_parallel.py``.

A small network learns the exclusive or of two bits. Each rank works on its shard of every batch;
the gradients are summed over all ranks while the backward pass goes on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pycoll
from pycoll.train import GELU, AdamW, CrossEntropy, DataParallel, Initializer, Layer, Linear, shard


class Network(Layer):
    """Map two numbers to the scores of "equal" and "different"."""

    def __init__(self, init: Initializer) -> None:
        self.layers = [Linear(init, 2, 16), GELU(init), Linear(init, 16, 2)]

    def forward(self, x: Any) -> tuple[Any, Any]:
        """Return the scores, and what each layer saved."""
        saved = []
        for layer in self.layers:
            x, saved_layer = layer.forward(x)
            saved.append(saved_layer)
        return x, saved

    def backward(self, saved: Any, dy: Any) -> None:
        """Write the gradients, from the last layer to the first."""
        for layer, saved_layer in zip(self.layers[::-1], saved[::-1], strict=True):
            dy = layer.backward(saved_layer, dy)


comm = pycoll.world()
model, criterion = Network(Initializer(seed=0)), CrossEntropy()
parallel = DataParallel(model, comm)
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
