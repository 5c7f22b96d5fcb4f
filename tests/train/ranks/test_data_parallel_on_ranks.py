"""Data parallelism on several ranks against one process that does everything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pycoll
from pycoll.train import (
    GPT,
    CrossEntropy,
    DataParallel,
    GPTConfig,
    GradientError,
    Initializer,
    Layer,
    Linear,
    shard,
)

comm = pycoll.world()
CONFIG = GPTConfig(vocabulary=11, context=6, width=8, heads=2, layers=2)


def batch(sequences: int) -> tuple[np.ndarray, np.ndarray]:
    tokens = np.random.default_rng(2).integers(11, size=(sequences, 7))
    return tokens[:, :-1], tokens[:, 1:]


def backward(model: GPT, inputs: np.ndarray, targets: np.ndarray, weight: float) -> None:
    scores, saved = model.forward(inputs)
    _, saved_loss = CrossEntropy().forward(scores, targets)
    model.backward(saved, CrossEntropy().backward(saved_loss, weight))


def on_one_process(config: GPTConfig, sequences: int) -> dict[str, np.ndarray]:
    """Return the gradients of the whole batch, without any communication."""
    model = GPT(config, Initializer(0, "float64"))
    model.clear_gradients()
    backward(model, *batch(sequences), 1 / sequences)
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("bucket_bytes", [1, 1000, 1 << 20])
@pytest.mark.parametrize("sequences", [2, 13])
def test_summed_gradients_equal_those_of_one_process(
    sequences: int, bucket_bytes: int, tied: bool
) -> None:
    """With 2 sequences most ranks have none."""
    config = GPTConfig(11, context=6, width=8, heads=2, layers=2, tied=tied)
    model = GPT(config, Initializer(0, "float64"))
    parallel = DataParallel(model, comm, bucket_bytes)
    inputs, targets = batch(sequences)
    mine = shard(sequences, comm.rank, comm.size)
    for _ in range(2):  # the second time gradients are not 0 before
        with parallel.reducing():
            backward(model, inputs[mine], targets[mine], 1 / sequences)
    expected = on_one_process(config, sequences)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.grad, expected[name], atol=1e-12, err_msg=name)


def test_micro_batches_are_added_up_before_reducing() -> None:
    model = GPT(CONFIG, Initializer(0, "float64"))
    parallel = DataParallel(model, comm, 1000)
    inputs, targets = batch(13)
    mine = np.arange(13)[shard(13, comm.rank, comm.size)]
    with parallel.reducing(passes=3):
        for rows in np.array_split(mine, 3):
            backward(model, inputs[rows], targets[rows], 1 / 13)
    for name, parameter in model.named_parameters():
        expected = on_one_process(CONFIG, 13)[name]
        np.testing.assert_allclose(parameter.grad, expected, atol=1e-12, err_msg=name)


def test_all_ranks_have_the_same_bits() -> None:
    model = GPT(CONFIG, Initializer(0))
    parallel = DataParallel(model, comm, 1000)
    inputs, targets = batch(13)
    mine = shard(13, comm.rank, comm.size)
    with parallel.reducing():
        backward(model, inputs[mine], targets[mine], 1 / 13)
    for bucket in parallel.buckets:
        gathered = comm.all_gather(bucket.flat).reshape(comm.size, -1)
        assert (gathered.view(np.int32) == gathered[0].view(np.int32)).all()


def test_all_ranks_start_from_rank_0s_parameters() -> None:
    model = GPT(CONFIG, Initializer(seed=comm.rank))
    DataParallel(model, comm)
    expected = GPT(CONFIG, Initializer(seed=0)).named_parameters()
    for (name, parameter), (_, first) in zip(model.named_parameters(), expected, strict=True):
        np.testing.assert_array_equal(parameter.data, first.data, err_msg=name)


class Pair(Layer):
    """Two layers whose gradients are written in the order that each rank chooses."""

    def __init__(self) -> None:
        init = Initializer(0, "float64")
        self.first = Linear(init, 3, 3, bias=False)
        self.second = Linear(init, 3, 3, bias=False)

    def forward(self, x: Any) -> tuple[Any, Any]:
        raise NotImplementedError

    def backward(self, saved: Any, dy: Any) -> None:
        for name in saved:
            weight = getattr(self, name).weight
            weight.accumulate(np.multiply, np.full((3, 3), dy), 1 if name == "first" else 10)


def test_ranks_may_complete_gradients_in_different_orders() -> None:
    """Collectives are started in bucket order all the same: the sums do not mix."""
    model = Pair()
    parallel = DataParallel(model, comm, bucket_bytes=1)
    assert len(parallel.buckets) == 2
    order = ("first", "second") if comm.rank % 2 else ("second", "first")
    with parallel.reducing():
        model.backward(order, float(comm.rank + 1))
    total = comm.size * (comm.size + 1) / 2
    np.testing.assert_array_equal(model.first.weight.grad, np.full((3, 3), total))
    np.testing.assert_array_equal(model.second.weight.grad, np.full((3, 3), 10 * total))


def test_a_missing_gradient_is_named_and_the_next_pass_is_right() -> None:
    """The first bucket is on its way when the pass ends too early."""
    model = Pair()
    parallel = DataParallel(model, comm, bucket_bytes=1)
    with (
        pytest.raises(GradientError, match=f"rank {comm.rank}: .* for first.weight; every"),
        parallel.reducing(),
    ):
        model.backward(("second",), 5.0)
    with parallel.reducing():
        model.backward(("second", "first"), 1.0)
    np.testing.assert_array_equal(model.first.weight.grad, np.full((3, 3), comm.size))
    np.testing.assert_array_equal(model.second.weight.grad, np.full((3, 3), 10 * comm.size))
