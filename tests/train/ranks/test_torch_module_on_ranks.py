"""A PyTorch module on several ranks, against PyTorch alone on the whole batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pycoll
from pycoll.train import SGD, DataParallel, TorchModule, shard

comm = pycoll.world()
if comm.size not in (2, 3, 4):
    pytest.skip("runs on 2, 3 or 4 ranks", allow_module_level=True)
torch = pytest.importorskip("torch")

STEPS, SAMPLES, RATE = 20, 13, 0.1  # 13: shares and micro-batches differ in size


def module() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 16), torch.nn.GELU(), torch.nn.LayerNorm(16), torch.nn.Linear(16, 3)
    )


def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(step)
    return (
        random.standard_normal((SAMPLES, 5), np.float32),
        random.standard_normal((SAMPLES, 3), np.float32),
    )


@pytest.fixture(scope="module")
def by_torch() -> dict[str, np.ndarray]:
    """Return the parameters that one process has after the steps, with torch's optimizer."""
    alone = module()
    optimizer = torch.optim.SGD(alone.parameters(), lr=RATE, momentum=0.9)
    for step in range(STEPS):
        inputs, targets = map(torch.from_numpy, batch(step))
        optimizer.zero_grad()
        (0.5 * (alone(inputs) - targets).square().sum() / SAMPLES).backward()
        optimizer.step()
    return {name: tensor.detach().numpy() for name, tensor in alone.named_parameters()}


@pytest.mark.parametrize(("zero", "passes"), [(0, 1), (0, 2), (1, 1), (1, 2)])
def test_twenty_steps_are_those_of_torch(
    by_torch: dict[str, np.ndarray], zero: int, passes: int
) -> None:
    trained = module()
    if comm.rank > 0:  # rank 0's parameters must count
        torch.nn.init.zeros_(trained[0].weight)
    model = TorchModule(trained)
    parallel = DataParallel(model, comm, bucket_bytes=200, zero=zero)
    optimizer = SGD(parallel.parameters, momentum=0.9, weight_decay=0.0)
    own = shard(SAMPLES, comm.rank, comm.size)
    for step in range(STEPS):
        inputs, targets = (array[own] for array in batch(step))
        with parallel.reducing(passes):
            for number in range(passes):
                piece = shard(len(inputs), number, passes)
                y, saved = model.forward(inputs[piece])
                model.backward(saved, (y - targets[piece]) / SAMPLES)
        parallel.step(optimizer, RATE)
    for name, tensor in trained.state_dict().items():
        expected = by_torch[name]
        error = np.linalg.norm(tensor.numpy() - expected) / np.linalg.norm(expected)
        assert error < 1e-5, name
