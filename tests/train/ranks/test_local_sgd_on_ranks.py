"""Local SGD: what ranks agree on, and when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pycoll
from pycoll.train import (
    GPT,
    SGD,
    AdamW,
    CrossEntropy,
    DataParallel,
    GPTConfig,
    Initializer,
    LocalSGD,
    Optimizer,
    RefusedError,
)

comm = pycoll.world()
if comm.size not in (1, 4):
    pytest.skip("runs on 1 and 4 ranks", allow_module_level=True)
SEQUENCES = 3


def small_gpt(seed: int = 0) -> GPT:
    config = GPTConfig(7, context=5, width=8, heads=2, layers=1, tied=True)
    return GPT(config, Initializer(seed, "float64"))


def backward(model: GPT, rank: int, step: int, weight: float) -> None:
    """Write the gradients of the batch that a rank has in a step."""
    tokens = np.random.default_rng((rank, step)).integers(7, size=(SEQUENCES, 6))
    scores, saved = model.forward(tokens[:, :-1])
    _, saved_loss = CrossEntropy().forward(scores, tokens[:, 1:])
    model.backward(saved, CrossEntropy().backward(saved_loss, weight))


def local_step(model: GPT, optimizer: Optimizer, rank: int, step: int) -> None:
    model.clear_gradients()
    backward(model, rank, step, 1 / SEQUENCES)
    optimizer.step(0.1)


def values(model: GPT) -> np.ndarray:
    return np.concatenate([p.data.reshape(-1) for _, p in model.named_parameters()])


def require_same_on_all_ranks(model: GPT) -> None:
    gathered = comm.all_gather(values(model)).reshape(comm.size, -1)
    assert (gathered == gathered[0]).all()


def test_rounds_of_one_step_are_data_parallelism() -> None:
    """With outer learning rate 1 and without momentum; from rank 0's parameters, too."""
    model = small_gpt(seed=comm.rank)
    local = LocalSGD(model, comm, 1, outer_learning_rate=1, outer_momentum=0)
    optimizer = SGD(model.named_parameters())
    expected = small_gpt()
    parallel = DataParallel(expected, comm)
    expected_optimizer = SGD(expected.named_parameters())
    for step in range(20):
        local_step(model, optimizer, comm.rank, step)
        assert local.end_step()
        with parallel.reducing():
            backward(expected, comm.rank, step, 1 / SEQUENCES / comm.size)
        expected_optimizer.step(0.1)
    np.testing.assert_allclose(values(model), values(expected), atol=1e-12)
    require_same_on_all_ranks(model)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_rounds_equal_what_the_paper_says(momentum: float) -> None:
    """Rounds of 3, 3 and 1 steps against one process that plays all ranks, with AdamW inside."""
    model = small_gpt()
    local = LocalSGD(model, comm, 3, outer_momentum=momentum)
    optimizer = AdamW(model.named_parameters())
    ended = []
    for step in range(7):
        local_step(model, optimizer, comm.rank, step)
        ended.append(local.end_step())
    assert ended == [False, False, True] * 2 + [False]
    local.synchronize()
    local.synchronize()  # does nothing
    require_same_on_all_ranks(model)

    replicas: list[Any] = [small_gpt() for _ in range(comm.size)]
    optimizers = [AdamW(replica.named_parameters()) for replica in replicas]
    start = values(replicas[0])
    velocity = np.zeros_like(start)
    for steps in (range(3), range(3, 6), range(6, 7)):
        for step in steps:
            for rank, replica in enumerate(replicas):
                local_step(replica, optimizers[rank], rank, step)
        gradient = start - np.mean([values(replica) for replica in replicas], axis=0)
        velocity = momentum * velocity + gradient
        start = start - 0.7 * (gradient + momentum * velocity if momentum else gradient)
        for replica in replicas:
            offset = 0
            for _, parameter in replica.named_parameters():
                part = start[offset : offset + parameter.data.size]
                parameter.data[...] = part.reshape(parameter.data.shape)
                offset += parameter.data.size
    np.testing.assert_allclose(values(model), start, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"every": 0 if comm.rank == 0 else 1}, "every is 0; a round has at least 1 step"),
        ({"outer_learning_rate": 0}, "outer_learning_rate must be above 0"),
        ({"outer_momentum": 1}, "outer_momentum must be in"),
        (
            {"every": 1 + comm.rank if comm.size > 1 else -1},
            "'every' is 1 on rank 0, but 2 on rank 1; all ranks|every is -1",
        ),
    ],
)
def test_wrong_arguments_are_refused_on_all_ranks(options: dict[str, Any], text: str) -> None:
    with pytest.raises(RefusedError, match=text):
        LocalSGD(small_gpt(), comm, **{"every": 1} | options)
