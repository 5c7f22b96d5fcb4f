"""A learnt vector per position, added to the input."""

from __future__ import annotations

from typing import Any

from pycoll.train.array_module import Array
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.layer import Layer


class PositionEmbedding(Layer):
    """Map ``(batch, length, width)`` to the same shape; ``length`` may be at most ``context``."""

    def __init__(self, init: Initializer, context: int, width: int, *, std: float) -> None:
        self.xp = init.xp
        self.weight = init.normal((context, width), std)

    def forward(self, x: Array) -> tuple[Array, Any]:
        return x + self.weight.data[: x.shape[1]], None

    def backward(self, saved: Any, dy: Array) -> Array:
        self.weight.accumulate(self._gradient, dy)
        return dy.copy()

    def _gradient(self, dy: Array, out: Array | None = None) -> Array:
        gradient = self.xp.empty_like(self.weight.data) if out is None else out
        length = dy.shape[1]
        self.xp.sum(dy, axis=0, out=gradient[:length])
        gradient[length:] = 0
        return gradient
