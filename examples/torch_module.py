"""A PyTorch model, trained data-parallel: ``mpirun -n 4 python examples/torch_module.py``.

PyTorch computes forward and backward. pycoll sums the gradients while autograd goes on, and steps
the parameters, which are the module's own. A convolutional network learns to read digits.
"""

from __future__ import annotations

import numpy as np

import pycoll
from pycoll.train import (
    AdamW,
    CrossEntropy,
    DataParallel,
    RefusedError,
    TorchModule,
    agreed,
    shard,
    share_cores,
)
from pycoll.train.data.digits import load_digits

BATCH = 128

comm = pycoll.world()
try:
    with agreed(comm):
        import torch
except RefusedError:
    missing = "this example needs PyTorch on all ranks: pip install torch"
    raise SystemExit(missing if comm.rank == 0 else 1) from None

torch.set_num_threads(share_cores(comm))
torch.manual_seed(0)
module = torch.nn.Sequential(
    torch.nn.Unflatten(1, (1, 8, 8)),
    torch.nn.Conv2d(1, 16, kernel_size=3),
    torch.nn.ReLU(),
    torch.nn.Flatten(),
    torch.nn.Linear(16 * 6 * 6, 10),
)
model, criterion = TorchModule(module), CrossEntropy()
parallel = DataParallel(model, comm, zero=1)  # all start with the weights of rank 0
optimizer = AdamW(parallel.parameters)
known, unseen = load_digits()
generator = np.random.default_rng(0)  # the same on all ranks: all draw the same batches
for step in range(101):
    rows = generator.integers(len(known.classes), size=BATCH)
    mine = rows[shard(BATCH, comm.rank, comm.size)]
    scores, saved = model.forward(known.pixels[mine])
    loss, saved_loss = criterion.forward(scores, known.classes[mine])
    with parallel.reducing():
        model.backward(saved, criterion.backward(saved_loss, 1 / BATCH))
    parallel.step(optimizer, learning_rate=0.01)
    mean = comm.all_reduce(np.array([loss / BATCH]))
    if comm.rank == 0 and step % 25 == 0:
        print(f"step {step}: loss {mean[0]:.4f}")

scores, _ = model.forward(unseen.pixels)  # reads the values: they have come from all ranks then
if comm.rank == 0:
    print(f"{np.mean(scores.argmax(axis=-1) == unseen.classes):.1%} of the unseen digits are right")
