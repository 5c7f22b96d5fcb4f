"""What a worker may do wrong."""

from __future__ import annotations

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

from pycoll.train import GradientError, Initializer, Layer, Linear
from pycoll.train.ps import (
    ASP,
    BSP,
    RankLostError,
)

if comm.size != 2:
    pytest.skip("runs on 2 ranks", allow_module_level=True)


class Sneaky(Layer):
    """Uses the weight of a layer whose ``forward`` it never calls."""

    def __init__(self) -> None:
        self.inner = Linear(Initializer(0), 2, 2, bias=False)

    def forward(self, x: Any) -> tuple[Any, Any]:
        return x @ self.inner.weight.data, x

    def backward(self, saved: Any, dy: Any) -> None:
        self.inner.backward(saved, dy)


@pytest.mark.parametrize("pulls", [False, True])
def test_parameters_that_are_used_without_forward_must_be_pulled(pulls: bool) -> None:
    model = Sneaky()
    ps = server_of(model, BSP())

    def two_steps() -> None:
        with ps.working() as worker:
            for _ in range(2):
                if pulls:
                    worker.pull()
                y, saved = model.forward(np.ones((1, 2), np.float32))
                with worker.pushing():
                    model.backward(saved, y)

    run = ps.serve if ps.is_server else two_steps
    if pulls:
        run()
    else:
        text = "rank 0 .* failed" if ps.is_server else "that owns inner.weight; call pull"
        with pytest.raises(RuntimeError, match=text):
            run()


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
