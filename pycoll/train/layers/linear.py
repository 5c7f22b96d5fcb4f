"""Affine map ``y = x W + b``."""

from __future__ import annotations

import math
from typing import Any

from pycoll.train.array_module import Array
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.layer import Layer


class Linear(Layer):
    """Map ``(..., inputs)`` to ``(..., outputs)``.

    Parameters
    ----------
    std : float, optional
        Standard deviation of the first weights; ``1 / sqrt(inputs)`` keeps the variance.
    bias : bool
        Whether to add a vector.
    """

    def __init__(
        self,
        init: Initializer,
        inputs: int,
        outputs: int,
        *,
        std: float | None = None,
        bias: bool = True,
    ) -> None:
        self.xp = init.xp
        self.weight = init.normal((inputs, outputs), 1 / math.sqrt(inputs) if std is None else std)
        self.bias = init.constant((outputs,), 0) if bias else None

    def forward(self, x: Array) -> tuple[Array, Any]:
        # One large 2-D product: the batched form of matmul would call BLAS once per sequence.
        inputs, outputs = self.weight.data.shape
        rows = x.reshape(-1, inputs)
        y = rows @ self.weight.data
        if self.bias is not None:
            y += self.bias.data
        return y.reshape(*x.shape[:-1], outputs), rows

    def backward(self, saved: Any, dy: Array) -> Array:
        rows = saved
        inputs, outputs = self.weight.data.shape
        drows = dy.reshape(-1, outputs)
        # Parameters first: their reduction can start while dx is computed.
        if self.bias is not None:
            self.bias.accumulate(self.xp.sum, drows, axis=0)
        self.weight.accumulate(self.xp.matmul, rows.T, drows)
        dx: Array = drows @ self.weight.data.T
        return dx.reshape(*dy.shape[:-1], inputs)
