"""Gradients by central differences of fourth order, to check those of the layers against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pycoll.train import Layer

# The truncation error is of order STEP^4, the rounding error of order 1e-16 / STEP.
STEP = 3e-5
TOLERANCE = 1e-9


def differences(function: Callable[[], float], array: np.ndarray) -> np.ndarray:
    """Return the gradient of a function of ``array``, which it reads when it is called."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        middle = array[index]

        def at(steps: int, index: tuple[int, ...] = index, middle: float = middle) -> float:
            array[index] = middle + steps * STEP
            return function()

        gradient[index] = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * STEP)
        array[index] = middle
    return gradient


def require_equal_gradient(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * scale, err_msg=name)


def require_right_gradients(layer: Layer, x: Any) -> None:
    """Check the gradients of all parameters, and of ``x`` where it is of floats.

    The loss is the sum of the outputs with random weights. Also checks that the layer leaves its
    arguments alone.
    """
    y, saved = layer.forward(x)
    weights = np.random.default_rng(1).standard_normal(y.shape)

    def loss() -> float:
        return float((layer.forward(x)[0] * weights).sum())

    x_before, weights_before = x.copy(), weights.copy()
    layer.clear_gradients()
    dx = layer.backward(saved, weights)
    np.testing.assert_array_equal(x, x_before, err_msg="x was written to")
    np.testing.assert_array_equal(weights, weights_before, err_msg="dy was written to")

    for name, parameter in layer.named_parameters():
        assert parameter.complete, name
        require_equal_gradient(name, parameter.grad, differences(loss, parameter.data))
    if np.issubdtype(x.dtype, np.floating):
        require_equal_gradient("x", dx, differences(loss, x))
