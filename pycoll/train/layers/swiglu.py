"""A linear unit with a gate that is swished.

Source: Shazeer, "GLU Variants Improve Transformer" (2020), section 2.
"""

from __future__ import annotations

from typing import Any

from pycoll.train.array_module import Array
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.layer import Layer


class SwiGLU(Layer):
    """Map ``(..., 2 n)``, n gates and then n values, to ``gate / (1 + exp(-gate)) * value``."""

    def __init__(self, init: Initializer) -> None:
        self.xp = init.xp

    def forward(self, x: Array) -> tuple[Array, Any]:
        gate, value = self._halves(x)
        # By tanh, which no gate makes overflow: 1 / (1 + exp(-g)) = (1 + tanh(g / 2)) / 2
        sigmoid: Array = gate * 0.5
        self.xp.tanh(sigmoid, out=sigmoid)
        sigmoid += 1
        sigmoid *= 0.5
        y = gate * sigmoid
        y *= value
        return y, (x, sigmoid)

    def backward(self, saved: Any, dy: Array) -> Array:
        x, sigmoid = saved
        gate, value = self._halves(x)
        dx: Array = self.xp.empty_like(x)
        dgate, dvalue = self._halves(dx)
        swish = gate * sigmoid
        self.xp.multiply(dy, swish, out=dvalue)
        # d(g s)/dg = s + g s (1 - s) = s (1 - g s) + g s
        slope = 1 - swish
        slope *= sigmoid
        slope += swish
        slope *= value
        self.xp.multiply(dy, slope, out=dgate)
        return dx

    @staticmethod
    def _halves(x: Array) -> tuple[Array, Array]:
        middle = x.shape[-1] // 2
        return x[..., :middle], x[..., middle:]
