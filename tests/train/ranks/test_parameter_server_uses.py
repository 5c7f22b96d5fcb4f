"""What a worker may do wrong."""

from __future__ import annotations

import numpy as np
import pytest
from small_parameter_server import (
    TwoLayers,
    comm,
    nothing,
    server_of,
    small_gpt,
)

from pycoll.train import GradientError
from pycoll.train.ps import (
    ASP,
    BSP,
    RankLostError,
)

if comm.size != 2:
    pytest.skip("runs on 2 ranks", allow_module_level=True)


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
