"""Causal multi-head self-attention.

Sources: Vaswani et al., "Attention Is All You Need" (2017), section 3.2; split by heads: Shoeybi et
al., "Megatron-LM" (2019), section 3.
"""

from __future__ import annotations

import math
from typing import Any

from pycoll.train.array_module import Array
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.layer import Layer
from pycoll.train.layers.softmax import softmax_backward_in_place, softmax_in_place
from pycoll.train.tensor_parallel.column_linear import ColumnLinear
from pycoll.train.tensor_parallel.row_linear import RowLinear
from pycoll.train.tensor_parallel.tensor_group import ALONE, TensorGroup


class CausalAttention(Layer):
    """Map ``(batch, length, width)`` to itself; position t sees positions 0..t.

    Parameters
    ----------
    width : int
        Must be a multiple of ``heads``.
    context : int
        The greatest ``length``.
    tensor : TensorGroup
        The ranks that hold the layer together, each some of the heads.
    residual_std : float, optional
        Standard deviation of the output weights, which write to the residual stream.
    """

    def __init__(
        self,
        init: Initializer,
        width: int,
        heads: int,
        context: int,
        tensor: TensorGroup = ALONE,
        *,
        residual_std: float | None = None,
    ) -> None:
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        if heads % tensor.size:
            raise ValueError(
                f"{heads} attention heads cannot be shared out equally among tp {tensor.size} "
                f"ranks; choose heads as a multiple of {tensor.size}, or a tp that divides {heads}"
            )
        self.xp = init.xp
        self.heads = heads // tensor.size
        # No biases: that of the keys has a gradient of exactly 0, which AdamW would scale from
        # rounding noise to full steps.
        self.qkv = ColumnLinear(init, width, 3 * width, tensor, blocks=3, bias=False)
        self.out = RowLinear(init, width, width, tensor, std=residual_std, bias=False)
        self._width = width // tensor.size
        self._scale = math.sqrt(heads / width)
        above = self.xp.triu(self.xp.ones((context, context), dtype=bool), k=1)
        self._future = self.xp.where(above, -math.inf, 0).astype(init.dtype)

    def forward(self, x: Array) -> tuple[Array, Any]:
        qkv, saved_qkv = self.qkv.forward(x)
        batch, length, _ = qkv.shape
        queries, keys, values = self._heads_of(qkv)
        scores = queries @ keys.swapaxes(-1, -2)
        scores *= self._scale
        scores += self._future[:length, :length]
        weights = softmax_in_place(self.xp, scores)
        mixed = self.xp.empty((batch, length, self._width), dtype=x.dtype)
        # The product is written where the output layer wants it: no transposing copy.
        self.xp.matmul(weights, values, out=self._heads_of(mixed)[0])
        y, saved_out = self.out.forward(mixed)
        return y, (saved_qkv, qkv, weights, saved_out)

    def backward(self, saved: Any, dy: Array) -> Array:
        saved_qkv, qkv, weights, saved_out = saved
        queries, keys, values = self._heads_of(qkv)
        (dmixed,) = self._heads_of(self.out.backward(saved_out, dy))
        dqkv = self.xp.empty_like(qkv)
        dqueries, dkeys, dvalues = self._heads_of(dqkv)
        self.xp.matmul(weights.swapaxes(-1, -2), dmixed, out=dvalues)
        dweights = dmixed @ values.swapaxes(-1, -2)
        dscores = softmax_backward_in_place(self.xp, weights, dweights)
        dscores *= self._scale
        self.xp.matmul(dscores, keys, out=dqueries)
        self.xp.matmul(dscores.swapaxes(-1, -2), queries, out=dkeys)
        return self.qkv.backward(saved_qkv, dqkv)

    def _heads_of(self, x: Array) -> Array:
        """View ``(batch, length, k * width)`` as ``(k, batch, heads, length, width / heads)``.

        Heads and width are those of this rank.
        """
        batch, length, widths = x.shape
        head = self._width // self.heads
        split = x.reshape(batch, length, widths // self._width, self.heads, head)
        return split.transpose(2, 0, 3, 1, 4)
