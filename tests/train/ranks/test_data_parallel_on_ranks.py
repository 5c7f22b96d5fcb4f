"""Data parallelism on several ranks against one process that does everything."""

from __future__ import annotations

from typing import Any, cast

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
    GradientError,
    Initializer,
    Layer,
    Linear,
    Parameter,
    shard,
)
from pycoll.train.data_parallel.wire import Precision

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


def trained(
    comm: pycoll.Communicator, dtype: str, steps: int = 20, **options: Any
) -> tuple[GPT, DataParallel, AdamW]:
    """Train on batches of 13 sequences, of which each rank has its share."""
    model = GPT(CONFIG, Initializer(0, dtype))
    parallel = DataParallel(model, comm, 1000, **options)
    # The default epsilon would amplify what rounding leaves of gradients that are nearly 0.
    optimizer = AdamW(parallel.parameters, weight_decay=0.1, epsilon=1e-6)
    inputs, targets = batch(13)
    mine = shard(13, comm.rank, comm.size)
    for _ in range(steps):
        with parallel.reducing():
            backward(model, inputs[mine], targets[mine], 1 / 13)
        parallel.step(optimizer, 0.01)
    return model, parallel, optimizer


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_zero_trains_as_one_process(dtype: str, tolerance: float) -> None:
    """Weights that decay and some that do not, in buckets that parts cut anywhere."""
    alone = comm.split(comm.rank)
    assert alone is not None
    expected = values_of(trained(alone, dtype)[0])
    found = values_of(trained(comm, dtype, zero=1)[0])
    assert np.linalg.norm(found - expected) <= tolerance * np.linalg.norm(expected)
    assert np.linalg.norm(expected - values_of(GPT(CONFIG, Initializer(0, dtype)))) > 1


def values_of(model: GPT) -> np.ndarray:
    return np.concatenate([p.data.reshape(-1) for _, p in model.named_parameters()])


def require_same_on_all_ranks(array: np.ndarray) -> None:
    gathered = comm.all_gather(np.ascontiguousarray(array).reshape(-1)).reshape(comm.size, -1)
    assert (gathered == gathered[0]).all()


@pytest.mark.parametrize("zero", [0, 1])
def test_bfloat16_rounds_weights_and_keeps_masters(zero: int) -> None:
    """All ranks compute with the same rounded weights; both ways of the optimizer agree."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    model, parallel, _ = trained(comm, "float32", steps=5, zero=zero, precision="bfloat16")
    for _, parameter in model.named_parameters():
        rounded = parameter.data.astype(ml_dtypes.bfloat16).astype(np.float32)
        np.testing.assert_array_equal(parameter.data, rounded)
        require_same_on_all_ranks(parameter.data)
    of_model = dict(model.named_parameters())
    finer = 0
    for name, piece in parallel.parameters:
        there = of_model[name].data.reshape(-1)[piece.start : piece.stop]  # type: ignore[attr-defined]
        np.testing.assert_array_equal(piece.data.astype(ml_dtypes.bfloat16), there)
        finer += int((piece.data != there).sum())
    assert comm.all_reduce(np.array([finer]))[0] > 1000  # of some 2000 weights


def test_bfloat16_learns_what_float32_learns() -> None:
    pytest.importorskip("ml_dtypes")
    losses = []
    for options in ({}, {"precision": "bfloat16"}, {"precision": "bfloat16", "zero": 1}):
        model, _, _ = trained(comm, "float32", **options)
        inputs, targets = batch(13)
        losses.append(CrossEntropy().forward(model.forward(inputs)[0], targets)[0] / inputs.size)
    assert losses[0] < 0.8 * np.log(11)
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=0.02)


def test_updates_smaller_than_bfloat16_can_hold_add_up() -> None:
    """Steps of 1/1000 of the weight, half of what would be rounded away, 16 times."""
    pytest.importorskip("ml_dtypes")
    weight = Parameter(np.ones((4, 4), np.float32), np.zeros((4, 4), np.float32))
    parallel = DataParallel([("weight", weight)], comm, precision="bfloat16")
    optimizer = SGD(parallel.parameters)
    for _ in range(16):
        with parallel.reducing():
            weight.accumulate(np.multiply, np.full((4, 4), 1 / comm.size, np.float32), 1)
        parallel.step(optimizer, 2**-10)
    assert np.unique(weight.data).size == 1
    assert weight.data[0, 0] == pytest.approx(1 - 2**-6, rel=2**-8)


@pytest.mark.parametrize("zero", [0, 1])
def test_each_rank_holds_its_share_of_the_state_and_of_the_norm(zero: int) -> None:
    """Pieces cover everything once; their squared norms sum up to that of one process."""
    _, parallel, optimizer = trained(comm, "float64", steps=1, zero=zero)
    norm = np.array([sum((piece.grad**2).sum() for _, piece in parallel.counted)], dtype=float)
    comm.all_reduce(norm)
    expected = on_one_process(CONFIG, 13)
    assert norm[0] == pytest.approx(sum((gradient**2).sum() for gradient in expected.values()))
    elements = sum(gradient.size for gradient in expected.values())
    mine = np.array([sum(piece.data.size for _, piece in parallel.parameters)])
    moments = sum(array.size for array in optimizer.state_dict().values()) - 1
    assert moments == 2 * mine[0]
    if zero:
        assert mine[0] <= elements / comm.size + len(parallel.buckets)
        comm.all_reduce(mine)
    assert mine[0] == elements


def test_zero_names_a_missing_gradient_and_the_next_step_is_right() -> None:
    model = Pair()
    before = model.first.weight.data.copy()
    parallel = DataParallel(model, comm, bucket_bytes=1, zero=1)
    optimizer = SGD(parallel.parameters)
    with (
        pytest.raises(GradientError, match=f"rank {comm.rank}: .* for first.weight; every"),
        parallel.reducing(),
    ):
        model.backward(("second",), 5.0)
    with parallel.reducing():
        model.backward(("second", "first"), 1.0)
    parallel.step(optimizer, 1.0)
    np.testing.assert_allclose(model.first.weight.data, before - comm.size, rtol=1e-14)


def test_an_optimizer_of_other_parameters_is_refused() -> None:
    """Before anything is sent: the model's parameters themselves would go to waste with ZeRO."""
    model = Pair()
    parallel = DataParallel(model, comm, zero=1)
    with pytest.raises(ValueError, match=r"make it of DataParallel\.parameters"):
        parallel.step(SGD(model.named_parameters()), 1.0)
    with pytest.raises(ValueError, match="there is no zero stage 3; choose 0 or 1"):
        DataParallel(model, comm, zero=3)


def test_what_a_step_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    """(p-1)/p of the gradients and of the values with ZeRO, half of those bytes in bfloat16."""
    pytest.importorskip("ml_dtypes")
    monkeypatch.setenv("PYCOLL_SHARED_MEMORY", "0")
    wired = comm.dup()  # by messages, which are counted
    weight = Parameter(np.ones((840, 100), np.float32), np.zeros((840, 100), np.float32))
    for precision, element in (("full", 4), ("bfloat16", 2)):
        parallel = DataParallel(
            [("weight", weight)], wired, zero=1, precision=cast(Precision, precision)
        )
        before = wired.sent_bytes
        with parallel.reducing():
            weight.accumulate(np.multiply, weight.data, 1)
        reduced = wired.sent_bytes
        parallel.step(SGD(parallel.parameters), 1.0)
        assert weight.data.shape == (840, 100)  # which waits
        share = 84000 * element * (comm.size - 1) // comm.size
        assert (reduced - before, wired.sent_bytes - reduced) == (share, share)
