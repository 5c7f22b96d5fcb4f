"""What a worker may do, and what it may do wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_parameter_server import (
    TwoLayers,
    comm,
    nothing,
    server_of,
    small_gpt,
)
from small_run import TEXT

from pycoll.train import (
    Corpus,
    GPTConfig,
    GradientError,
    Initializer,
    Layer,
    Linear,
    RunOptions,
    Settings,
    TrainingDivergedError,
)
from pycoll.train.ps import (
    ASP,
    BSP,
    RankLostError,
)
from pycoll.train.ps.gpt_run import run_with_servers

if comm.size != 2:
    pytest.skip("runs on 2 ranks", allow_module_level=True)


class LateReader(Layer):
    """Reads one weight itself, in the forward pass, and the other never."""

    def __init__(self) -> None:
        init = Initializer(0)
        self.read = Linear(init, 2, 2, bias=False)
        self.unread = Linear(init, 2, 2, bias=False)

    def forward(self, x: Any) -> tuple[Any, Any]:
        return x @ self.read.weight.data, x

    def backward(self, saved: Any, dy: Any) -> None:
        for layer in (self.unread, self.read):
            layer.weight.accumulate(np.matmul, saved.T, dy)


@pytest.mark.parametrize("in_block", [False, True])
def test_parameters_are_there_when_read_or_before_the_next_push(in_block: bool) -> None:
    model = LateReader()
    ps = server_of(model, BSP(), learning_rate=0.5, bucket_bytes=1)
    unread = model.unread.weight.data
    if ps.is_server:
        ps.serve()
        return
    x = np.ones((1, 2), np.float32)
    reference, expected = model.read.weight.data.copy(), unread.copy()
    with ps.working() as worker:
        for step in range(4):
            before = None if in_block else model.forward(x)
            with worker.pushing():
                y, saved = before or model.forward(x)
                np.testing.assert_array_equal(y, x @ reference)
                model.backward(saved, y)
            # What this step's push has waited for: the values after the step before.
            np.testing.assert_allclose(unread, expected, rtol=1e-6, err_msg=str(step))
            expected -= 0.5 * saved.T @ y
            reference -= 0.5 * saved.T @ y
    np.testing.assert_allclose(unread, expected, rtol=1e-6)


def test_whoever_reads_parameters_between_steps_sees_the_servers() -> None:
    """Also by an array that it has kept, after `pull`."""
    model = TwoLayers(nothing)
    ps = server_of(model, BSP(), learning_rate=1)
    if ps.is_server:
        ps.serve()
        return
    first = model.first.weight.data.copy()
    kept = model.second.weight.data
    second = kept.copy()
    with ps.working() as worker:
        for step in (1, 2, 3):
            with worker.pushing():
                model.backward("second", 1.0)
            np.testing.assert_allclose(model.first.weight.data, first - step, atol=1e-6)
            worker.pull()
            np.testing.assert_allclose(kept, second - step, atol=1e-6)
    model.clear_gradients()
    model.backward("second", 1.0)  # is pushed to nobody


def test_a_missing_gradient_is_named() -> None:
    model = TwoLayers(nothing)
    ps = server_of(model, ASP())
    if ps.is_server:
        with pytest.raises(RankLostError, match="failed"):
            ps.serve()
    else:
        with (
            pytest.raises(GradientError, match=r"no complete gradient for second\.weight"),
            ps.working() as worker,
            worker.pushing(),
        ):
            model.first.weight.accumulate(np.multiply, np.ones((2, 2)), 1.0)


def test_roles_are_not_mixed_up() -> None:
    ps = server_of(small_gpt(), BSP())
    if ps.is_server:
        with pytest.raises(RuntimeError, match="rank 1 is a server; call serve"), ps.working():
            pass
    else:
        with pytest.raises(RuntimeError, match="rank 0 is a worker; call working"):
            ps.serve()


def test_a_loss_that_is_no_number_ends_the_run_on_all_ranks(tmp_path: Path) -> None:
    corpus = Corpus.of(TEXT, context=8)
    model = GPTConfig(len(corpus.vocabulary), context=8, width=12, heads=2, layers=1)
    settings = Settings(steps=100, batch_size=4, learning_rate=1e9)
    text = r"loss of worker 0 became (nan|inf) in step \d; lower the learning rate"
    with np.errstate(all="ignore"), pytest.raises(TrainingDivergedError, match=text):
        run_with_servers(
            comm, corpus, model, settings, RunOptions(tmp_path), servers=1, consistency=BSP()
        )
    assert not (tmp_path / "checkpoints").exists()
