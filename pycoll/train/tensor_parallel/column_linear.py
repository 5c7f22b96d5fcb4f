"""Affine map whose outputs are split among ranks: each holds some columns of the weight.

Cost per pass, of a group of p ranks and activations of N bytes: one all-reduce of N backward; with
sequence parallelism one all-gather forward, one all-gather and one reduce-scatter backward.

Source: Shoeybi et al., "Megatron-LM" (2019), section 3. What travels while the gradient of the
weight is computed: Korthikanti et al. (2022), section 4.2.2.
"""

from __future__ import annotations

from typing import Any

from pycoll.train.array_module import Array
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.linear import Linear, rows_of
from pycoll.train.tensor_parallel.tensor_group import ALONE, TensorGroup


class ColumnLinear(Linear):
    """Map resident ``(..., inputs)`` to this rank's part of whole ``(..., outputs)``.

    Parameters
    ----------
    inputs, outputs : int
        Of the whole layer.
    tensor : TensorGroup
        The ranks that hold it together.
    blocks : int
        Matrices that lie side by side in the weight: of each, every rank has some columns.
    std, bias
        As of `Linear`.
    """

    def __init__(
        self,
        init: Initializer,
        inputs: int,
        outputs: int,
        tensor: TensorGroup = ALONE,
        *,
        blocks: int = 1,
        std: float | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__(
            init,
            inputs,
            outputs,
            std=std,
            bias=bias,
            weight_shard=tensor.split((inputs, outputs), 1, blocks),
            bias_shard=tensor.split((outputs,), 0, blocks),
        )
        self.tensor = tensor

    def forward(self, x: Array) -> tuple[Array, Any]:
        y, _ = super().forward(self.tensor.gather(x))
        # Resident, which takes 1/size of the memory: backward gathers again.
        return y, x

    def backward(self, saved: Any, dy: Array) -> Array:
        if self.tensor.alone:
            return super().backward(rows_of(saved), dy)
        x, drows = saved, rows_of(dy)
        gathering = self.tensor.start_gather(x)
        dx = self.tensor.empty((*dy.shape[:-1], x.shape[-1]), dy)
        self.xp.matmul(drows, self.weight.data.T, out=rows_of(dx))
        rows = rows_of(gathering.wait())
        summing = self.tensor.start_sum(dx)
        if self.bias is not None:
            self.bias.accumulate(self.xp.sum, drows, axis=0)
        self.weight.accumulate(self.xp.matmul, rows.T, drows)
        return summing.wait()
