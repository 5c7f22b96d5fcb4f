"""When a gradient is complete, and what happens then."""

from __future__ import annotations

import numpy as np
import pytest

from pycoll.train import GradientError, Parameter


def parameter_with_log(uses: int = 1) -> tuple[Parameter, list[np.ndarray]]:
    parameter = Parameter(np.zeros(2), np.full(2, 9.0))
    parameter.uses = uses
    log: list[np.ndarray] = []
    parameter.on_complete = lambda: log.append(parameter.grad.copy())
    parameter.clear_gradient()
    return parameter, log


def test_the_first_contribution_overwrites_and_later_ones_add() -> None:
    parameter, log = parameter_with_log(uses=2)
    parameter.accumulate(np.add, np.array([1.0, 2.0]), 1)
    np.testing.assert_array_equal(parameter.grad, [2, 3])
    assert not parameter.complete
    assert log == []
    parameter.accumulate(np.multiply, np.array([1.0, 2.0]), 10)
    assert parameter.complete
    np.testing.assert_array_equal(log, [[12, 23]])


def test_several_passes() -> None:
    parameter, log = parameter_with_log(uses=2)
    parameter.clear_gradient(passes=3)
    for _ in range(6):
        assert log == []
        parameter.accumulate(np.add, np.ones(2), 0)
    np.testing.assert_array_equal(log, [[6, 6]])


def test_what_comes_from_other_ranks_comes_once_for_all_passes() -> None:
    parameter, log = parameter_with_log(uses=2)
    parameter.remote_uses = 1
    parameter.clear_gradient(passes=2)
    for left in (5, 4, 3, 2, 1):
        assert parameter.missing == left
        assert log == []
        parameter.accumulate(np.add, np.ones(2), 0)
    assert parameter.complete
    np.testing.assert_array_equal(log, [[5, 5]])


def test_one_contribution_too_many_is_an_error() -> None:
    parameter, log = parameter_with_log()
    parameter.accumulate(np.add, np.ones(2), 0)
    with pytest.raises(GradientError, match=r"shape \(2,\) is complete already after 1"):
        parameter.accumulate(np.add, np.ones(2), 0)
    np.testing.assert_array_equal(parameter.grad, [1, 1])
    assert len(log) == 1


def test_the_gradient_is_written_in_place() -> None:
    """Data parallelism relies on it: the gradient is a view into a bucket."""
    parameter, _ = parameter_with_log()
    gradient = parameter.grad
    parameter.accumulate(np.add, np.ones(2), 0)
    assert parameter.grad is gradient
