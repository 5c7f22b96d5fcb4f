"""A GPT on a mesh of ranks: ``mpirun -n 8 python examples/hybrid_gpt.py``.

Two ranks hold each weight matrix together (tp), two such pairs hold half of the layers each (pp),
and there are two copies of all that (dp), each for its share of every batch. On 4 ranks there is
one copy, on 2 one stage. The model learns to continue arithmetic progressions.
"""

from __future__ import annotations

import numpy as np

import pycoll
from pycoll.train import (
    GPT,
    AdamW,
    CrossEntropy,
    DataParallel,
    GPTConfig,
    Initializer,
    Mesh,
    Pipeline,
    TensorGroup,
    clip_gradients,
    shard,
    share_cores,
)

LENGTH, NUMBERS, SEQUENCES = 16, 17, 32
config = GPTConfig(NUMBERS, LENGTH, width=64, heads=4, layers=2)

comm = pycoll.world()
share_cores(comm)  # ranks of a machine do not use its cores for BLAS twice
tp = 2 if comm.size % 2 == 0 else 1
pp = 2 if comm.size % 4 == 0 else 1
mesh = Mesh(comm, dp=comm.size // (tp * pp), tp=tp, pp=pp)
tensor = TensorGroup(mesh.tp)


def make_part(part: range) -> GPT:
    """Return this rank's share of some consecutive layers."""
    return GPT(config, Initializer(seed=0), tensor, part=part)


pipeline = Pipeline(
    make_part,
    len(GPT.layer_names(config)),
    mesh.pp,
    CrossEntropy(tensor=tensor, classes=NUMBERS),
    micro_batches=4 if pp > 1 else 1,
)
parallel = DataParallel(pipeline.named_parameters(), mesh.dp, zero=1)
optimizer = AdamW(parallel.parameters)  # its state is shared out over dp
if comm.rank == 0:
    print(mesh)
    print(f"rank 0 holds {sum(p.data.size for _, p in pipeline.named_parameters())} numbers")

generator = np.random.default_rng(0)  # the same on all ranks: all draw the same batches
for step in range(201):
    start, slope = generator.integers(NUMBERS, size=(2, SEQUENCES, 1))
    tokens = (start + slope * np.arange(LENGTH + 1)) % NUMBERS
    mine = tokens[shard(SEQUENCES, mesh.dp.rank, mesh.dp.size)]
    with parallel.reducing(passes=pipeline.micro_batches):
        loss = pipeline.forward_backward(mine[:, :-1], mine[:, 1:], 1 / (SEQUENCES * LENGTH))
    norm = clip_gradients(parallel.parameters, 1.0, mesh, counted=parallel.counted)
    parallel.step(optimizer, learning_rate=5e-3)
    # The last stage has the loss, and all ranks of its tensor group have the same.
    part = np.array([loss if mesh.tp.rank == 0 else 0.0])
    total = comm.all_reduce(part)
    if comm.rank == 0 and step % 50 == 0:
        mean = total[0] / (SEQUENCES * LENGTH)
        print(f"step {step}: loss {mean:.4f}, norm of the gradients {norm:.3f}")
