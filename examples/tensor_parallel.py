"""Tensor parallelism: ``mpirun -n 4 python examples/tensor_parallel.py``.

Each rank holds half of every matrix of a GPT (a quarter with ``--tp 4``), and with
``--sequence-parallel`` half of what lies between them. Where there are more ranks than that, groups
of them work on different sequences. The model learns to continue arithmetic progressions.
"""

from __future__ import annotations

import argparse

import numpy as np

import pycoll
from pycoll.train import (
    GPT,
    AdamW,
    DataParallel,
    GPTConfig,
    Initializer,
    Mesh,
    RefusedError,
    TensorGroup,
    agreed,
    clip_gradients,
    shard,
    share_cores,
)

LENGTH, NUMBERS, SEQUENCES = 16, 17, 32

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--tp", type=int, default=2, help="ranks that hold the model together")
parser.add_argument("--sequence-parallel", action="store_true", help="split the rest, too")
options = parser.parse_args()

comm = pycoll.world()
share_cores(comm)
try:
    mesh = Mesh(comm, dp=max(comm.size // options.tp, 1), tp=options.tp)
    with agreed(comm):
        tensor = TensorGroup(mesh.tp, sequence_parallel=options.sequence_parallel)
        config = GPTConfig(NUMBERS, LENGTH, width=64, heads=4, layers=2)
        model = GPT(config, Initializer(seed=0), tensor)
except RefusedError as error:
    raise SystemExit(str(error) if comm.rank == 0 else 1) from error

named = model.named_parameters()
parallel = DataParallel(model, mesh.dp)
optimizer, criterion = AdamW(named), model.criterion()
if comm.rank == 0:
    print(mesh)
    print(f"rank 0 holds {sum(p.data.size for _, p in named)} numbers of the model")

generator = np.random.default_rng(0)  # the same on all ranks: all draw the same batches
for step in range(301):
    start, slope = generator.integers(NUMBERS, size=(2, SEQUENCES, 1))
    tokens = (start + slope * np.arange(LENGTH + 1)) % NUMBERS
    mine = tokens[shard(SEQUENCES, mesh.dp.rank, mesh.dp.size)]
    scores, saved = model.forward(mine[:, :-1])
    loss, saved_loss = criterion.forward(scores, mine[:, 1:])
    with parallel.reducing():
        model.backward(saved, criterion.backward(saved_loss, 1 / (SEQUENCES * LENGTH)))
    norm = clip_gradients(named, 1.0, mesh)
    optimizer.step(learning_rate=5e-3)
    mean = mesh.dp.all_reduce(np.array([loss / (SEQUENCES * LENGTH)]))
    if comm.rank == 0 and step % 50 == 0:
        print(f"step {step}: loss {mean[0]:.4f}, norm of the gradients {norm:.3f}")

prompt = (3 + 5 * np.arange(10)) % NUMBERS
scores = model.next_scores(prompt[None])
if comm.rank == 0:
    print(f"{', '.join(map(str, prompt))}, ... goes on with {scores[0].argmax()}; 2 is right")
