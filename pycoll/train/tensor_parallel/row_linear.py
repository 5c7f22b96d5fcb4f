"""Affine map whose inputs are split among ranks: each holds some rows of the weight.

Cost per pass, of activations of N bytes: one all-reduce of N forward; with sequence parallelism
one reduce-scatter forward, one all-gather backward.

Source: Shoeybi et al., "Megatron-LM" (2019), section 3.
"""

from __future__ import annotations

from typing import Any

from pycoll.train.array_module import Array
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.linear import Linear, rows_of
from pycoll.train.tensor_parallel.tensor_group import ALONE, TensorGroup


class RowLinear(Linear):
    """Map this rank's part of whole ``(..., inputs)`` to resident ``(..., outputs)``.

    The counterpart of `ColumnLinear`, for its output; parameters as there. Every rank holds the
    whole bias, which is added once, after the sum.
    """

    def __init__(
        self,
        init: Initializer,
        inputs: int,
        outputs: int,
        tensor: TensorGroup = ALONE,
        *,
        std: float | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__(
            init,
            inputs,
            outputs,
            std=std,
            bias=bias,
            weight_shard=tensor.split((inputs, outputs), 0),
        )
        self.tensor = tensor
        if self.bias is not None:
            self.bias.partial_over = tensor.sequence_group

    def forward(self, x: Array) -> tuple[Array, Any]:
        if self.tensor.alone:
            return super().forward(x)
        rows = rows_of(x)
        partial = self.tensor.empty((*x.shape[:-1], self.weight.data.shape[1]), x)
        self.xp.matmul(rows, self.weight.data, out=rows_of(partial))
        y = self.tensor.sum(partial)
        if self.bias is not None:
            y += self.bias.data
        return y, rows

    def backward(self, saved: Any, dy: Array) -> Array:
        if self.bias is not None:
            self.bias.accumulate(self.xp.sum, rows_of(dy), axis=0)
        rows, whole = saved, self.tensor.gather(dy)
        drows = rows_of(whole)
        self.weight.accumulate(self.xp.matmul, rows.T, drows)
        dx: Array = drows @ self.weight.data.T
        return dx.reshape(*whole.shape[:-1], dx.shape[-1])
