"""A network whose layers are spread over the ranks: ``mpirun -n 4 python examples/pipeline.py``.

Each rank makes only its own layers of a network that learns the exclusive or of two bits. Every
batch is cut into 8 micro-batches, which follow each other through the stages.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pycoll
from pycoll.train import (
    GELU,
    AdamW,
    CrossEntropy,
    Initializer,
    Layer,
    Linear,
    Parameter,
    Pipeline,
    plan_pipeline,
)

WIDTHS = (2, 16, 16, 16, 16, 16, 16, 16, 2)


class Part(Layer):
    """Some layers of the network: affine maps, with an activation behind each but the last."""

    def __init__(self, part: range) -> None:
        init = Initializer(seed=0)
        self.layers: dict[str, Layer] = {}
        for number in part:
            name = f"linear_{number}"
            self.layers[name] = Linear(init.named(name), WIDTHS[number], WIDTHS[number + 1])
            if number + 2 < len(WIDTHS):
                self.layers[f"gelu_{number}"] = GELU(init)

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Return the parameters, under names that do not depend on the part."""
        return [
            (f"{prefix}.{name}", parameter)
            for prefix, layer in self.layers.items()
            for name, parameter in layer.named_parameters()
        ]

    def forward(self, x: Any) -> tuple[Any, Any]:
        """Return the last layer's output, and what each layer saved."""
        saved = []
        for layer in self.layers.values():
            x, saved_layer = layer.forward(x)
            saved.append(saved_layer)
        return x, saved

    def backward(self, saved: Any, dy: Any) -> Any:
        """Write the gradients, from the last layer to the first."""
        for layer, saved_layer in zip(reversed(self.layers.values()), reversed(saved), strict=True):
            dy = layer.backward(saved_layer, dy)
        return dy


comm = pycoll.world()
pipeline = Pipeline(Part, len(WIDTHS) - 1, comm, CrossEntropy(), micro_batches=8)
optimizer = AdamW(pipeline.named_parameters(), weight_decay=0.0)
if comm.rank == 0:
    bubble = plan_pipeline("1f1b", comm.size, pipeline.micro_batches).ideal_bubble
    print(f"layers by stage: {', '.join(str(list(part)) for part in pipeline.parts)}")
    print(f"1f1b: a bubble of {100 * bubble:.0f} % if all stages take equally long")
generator = np.random.default_rng(0)  # the same on all ranks: all draw the same batches
for step in range(201):
    bits = generator.integers(2, size=(64, 2))
    pipeline.clear_gradients()
    loss = pipeline.forward_backward(
        (2 * bits - 1).astype(np.float32), bits[:, 0] ^ bits[:, 1], 1 / len(bits)
    )
    optimizer.step(learning_rate=0.003)
    mean = comm.all_reduce(np.array([loss / len(bits)]))  # all but the last stage add 0
    if comm.rank == 0 and step % 50 == 0:
        print(f"step {step}: loss {mean[0]:.4f}")
