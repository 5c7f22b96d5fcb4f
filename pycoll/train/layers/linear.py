"""Affine map ``y = x W + b``."""

from __future__ import annotations

import math
from typing import Any

from pycoll.train.array_module import Array
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.layer import Layer
from pycoll.train.layers.shard import Shard


class Linear(Layer):
    """Map ``(..., inputs)`` to ``(..., outputs)``.

    Parameters
    ----------
    std : float, optional
        Standard deviation of the first weights; ``1 / sqrt(inputs)`` keeps the variance.
    bias : bool
        Whether to add a vector.
    weight_shard, bias_shard : Shard, optional
        The parts of them that this rank holds, where several ranks hold the layer together.
    """

    def __init__(
        self,
        init: Initializer,
        inputs: int,
        outputs: int,
        *,
        std: float | None = None,
        bias: bool = True,
        weight_shard: Shard | None = None,
        bias_shard: Shard | None = None,
    ) -> None:
        self.xp = init.xp
        std = 1 / math.sqrt(inputs) if std is None else std
        self.weight = init.normal((inputs, outputs), std, weight_shard)
        self.bias = init.constant((outputs,), 0, bias_shard) if bias else None

    def forward(self, x: Array) -> tuple[Array, Any]:
        # One large 2-D product: the batched form of matmul would call BLAS once per sequence.
        rows = rows_of(x)
        y: Array = rows @ self.weight.data
        if self.bias is not None:
            y += self.bias.data
        return y.reshape(*x.shape[:-1], y.shape[-1]), rows

    def backward(self, saved: Any, dy: Array) -> Array:
        rows, drows = saved, rows_of(dy)
        # Parameters first: their reduction can start while dx is computed.
        if self.bias is not None:
            self.bias.accumulate(self.xp.sum, drows, axis=0)
        self.weight.accumulate(self.xp.matmul, rows.T, drows)
        dx: Array = drows @ self.weight.data.T
        return dx.reshape(*dy.shape[:-1], dx.shape[-1])


def rows_of(x: Array) -> Array:
    """Return an array as a matrix: its last axis as columns, all others as rows."""
    # Not reshape(-1, columns): NumPy cannot tell how many rows an empty array has.
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
