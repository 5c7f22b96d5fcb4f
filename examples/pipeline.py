"""A network whose layers are spread over the ranks: ``mpirun -n 4 python examples/pipeline.py``.

Each rank makes only its own layers of a network that learns the exclusive or of two bits. Every
batch is cut into 8 micro-batches, which follow each other through the stages.
"""

from __future__ import annotations

import numpy as np

import pycoll
from pycoll.train import (
    MLP,
    AdamW,
    CrossEntropy,
    Initializer,
    MLPConfig,
    Pipeline,
    plan_pipeline,
)

config = MLPConfig(widths=(2, 16, 16, 16, 16, 2))
layers = MLP.layer_names(config)


def make_part(part: range) -> MLP:
    """Return some consecutive layers of the network, by their numbers."""
    return MLP(config, Initializer(seed=0), part=part)


comm = pycoll.world()
pipeline = Pipeline(make_part, len(layers), comm, CrossEntropy(), micro_batches=8)
optimizer = AdamW(pipeline.named_parameters(), weight_decay=0.0)
if comm.rank == 0:
    bubble = plan_pipeline("1f1b", comm.size, pipeline.micro_batches).ideal_bubble
    for stage, part in enumerate(pipeline.parts):
        print(f"stage {stage}: {', '.join(layers[number] for number in part)}")
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
