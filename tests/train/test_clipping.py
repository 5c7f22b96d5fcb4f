"""Gradient clipping on one process; on several, test_tensor_parallel_on_ranks.py shows it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pycoll.train import GradientNormError, Parameter, Shard, clip_gradients
from pycoll.train.clipping import counts, squared_norm


def parameters(*gradients: list[float]) -> list[tuple[str, Parameter]]:
    arrays = [np.array(gradient, dtype=np.float32) for gradient in gradients]
    return [(f"p{i}", Parameter(np.zeros_like(g), g)) for i, g in enumerate(arrays)]


def test_gradients_that_are_too_long_are_scaled_to_the_limit() -> None:
    named = parameters([3.0], [0.0, 4.0])
    assert clip_gradients(named, 1.0) == 5
    np.testing.assert_allclose([named[0][1].grad[0], *named[1][1].grad], [0.6, 0, 0.8], rtol=1e-6)


@pytest.mark.parametrize("limit", [5.0, 7.0, math.inf])
@pytest.mark.parametrize("gradient", [[3.0, 4.0], [0.0, 0.0]])
def test_gradients_within_the_limit_keep_their_bits(limit: float, gradient: list[float]) -> None:
    named = parameters(gradient)
    assert clip_gradients(named, limit) == math.hypot(*gradient)
    np.testing.assert_array_equal(named[0][1].grad, gradient)


def test_squares_beyond_float32_are_right() -> None:
    """1e30 squared is infinite in float32, and 1e-30 squared 0."""
    named = parameters([3e30, 4e30])
    assert clip_gradients(named, 1.0) == pytest.approx(5e30)
    assert squared_norm([np.array([1e-30], np.float32)]) == pytest.approx(1e-60, rel=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_norm_that_is_no_number_is_an_error_and_nothing_is_scaled(value: float) -> None:
    named = parameters([value], [2.0])
    with pytest.raises(GradientNormError, match=f"the norm of the gradients is {value}"):
        clip_gradients(named, 1.0)
    assert named[1][1].grad[0] == 2


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan])
def test_a_limit_must_be_above_0(limit: float) -> None:
    with pytest.raises(ValueError, match="max_norm must be above 0"):
        clip_gradients(parameters([1.0]), limit)


def test_each_parameter_counts_once() -> None:
    whole, copy = Parameter(np.zeros(2), np.zeros(2)), Parameter(np.zeros(2), np.zeros(2))
    part = Parameter(np.zeros(1), np.zeros(1), Shard((2,), 0, ((0, 1),)))
    copy.is_copy = True
    assert [counts(parameter, 0) for parameter in (whole, part, copy)] == [True, True, False]
    assert [counts(parameter, 1) for parameter in (whole, part, copy)] == [False, True, False]
