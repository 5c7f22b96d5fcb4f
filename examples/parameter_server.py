"""Train with a parameter server: ``mpirun -n 4 python examples/parameter_server.py``.

The last rank keeps the parameters. The others learn the exclusive or of two bits, each at its own
pace, but never more than 4 steps ahead of the slowest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pycoll
from pycoll.train import GELU, SGD, CrossEntropy, Initializer, Layer, Linear
from pycoll.train.ps import SSP, ParameterServer


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
