"""Gaussian error linear unit in its tanh form, which needs no error function.

Source: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016), section 2.
"""

from __future__ import annotations

import math
from typing import Any

from pycoll.train.array_module import Array
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.layer import Layer

_SLOPE = math.sqrt(2 / math.pi)
_CUBE = 0.044715


class GELU(Layer):
    """Map ``x`` to ``x (1 + tanh u) / 2`` with ``u = sqrt(2/pi) (x + 0.044715 x^3)``."""

    def __init__(self, init: Initializer) -> None:
        self.xp = init.xp

    def forward(self, x: Array) -> tuple[Array, Any]:
        xp = self.xp
        tanh = x * x
        tanh *= _SLOPE * _CUBE
        tanh += _SLOPE
        tanh *= x
        xp.tanh(tanh, out=tanh)
        y = tanh + 1
        y *= x
        y *= 0.5
        return y, (x, tanh)

    def backward(self, saved: Any, dy: Array) -> Array:
        xp = self.xp
        x, tanh = saved
        # dy/dx = (1 + tanh + x u' (1 - tanh^2)) / 2
        dx: Array = x * x
        dx *= _SLOPE * _CUBE * 3
        dx += _SLOPE
        dx *= x
        sech_squared = tanh * tanh
        xp.subtract(1, sech_squared, out=sech_squared)
        dx *= sech_squared
        dx += tanh
        dx += 1
        dx *= dy
        dx *= 0.5
        return dx
