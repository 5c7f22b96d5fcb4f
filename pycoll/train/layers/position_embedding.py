"""A learnt vector per position, added to the input."""

from __future__ import annotations

from typing import Any

from pycoll.train.array_module import Array
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.layer import Layer
from pycoll.train.tensor_parallel.tensor_group import ALONE, TensorGroup


class PositionEmbedding(Layer):
    """Map ``(batch, length, width)`` to the same shape; ``length`` may be at most ``context``.

    Parameters
    ----------
    tensor : TensorGroup
        The ranks that each have some of the positions, with sequence parallelism.
    """

    def __init__(
        self,
        init: Initializer,
        context: int,
        width: int,
        tensor: TensorGroup = ALONE,
        *,
        std: float,
    ) -> None:
        self.xp = init.xp
        self.tensor = tensor
        self.weight = init.normal((context, width), std)
        self.weight.partial_over = tensor.sequence_group

    def forward(self, x: Array) -> tuple[Array, Any]:
        return x + self.weight.data[self._positions(x)], None

    def backward(self, saved: Any, dy: Array) -> Array:
        self.weight.accumulate(self._gradient, dy)
        return dy.copy()

    def _positions(self, x: Array) -> slice:
        """Return which positions the resident ``x`` holds."""
        share = x.shape[1]
        parts = self.tensor.size if self.tensor.sequence_parallel else 1
        return self.tensor.positions(parts * share)

    def _gradient(self, dy: Array, out: Array | None = None) -> Array:
        gradient = self.xp.empty_like(self.weight.data) if out is None else out
        gradient[...] = 0
        self.xp.sum(dy, axis=0, out=gradient[self._positions(dy)])
        return gradient
