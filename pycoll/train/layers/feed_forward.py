"""The position-wise network of a transformer block: widen, GELU, narrow."""

from __future__ import annotations

from typing import Any

from pycoll.train.array_module import Array
from pycoll.train.layers.gelu import GELU
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.layer import Layer
from pycoll.train.layers.linear import Linear


class FeedForward(Layer):
    """Map ``(..., width)`` to itself through ``expansion * width`` hidden units.

    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.3.
    """

    def __init__(
        self,
        init: Initializer,
        width: int,
        *,
        expansion: int = 4,
        residual_std: float | None = None,
    ) -> None:
        self.widen = Linear(init, width, expansion * width, bias=False)
        self.activation = GELU(init)
        self.narrow = Linear(init, expansion * width, width, std=residual_std, bias=False)

    def forward(self, x: Array) -> tuple[Array, Any]:
        hidden, saved_widen = self.widen.forward(x)
        active, saved_activation = self.activation.forward(hidden)
        y, saved_narrow = self.narrow.forward(active)
        return y, (saved_widen, saved_activation, saved_narrow)

    def backward(self, saved: Any, dy: Array) -> Array:
        saved_widen, saved_activation, saved_narrow = saved
        dactive = self.narrow.backward(saved_narrow, dy)
        dhidden = self.activation.backward(saved_activation, dactive)
        return self.widen.backward(saved_widen, dhidden)
