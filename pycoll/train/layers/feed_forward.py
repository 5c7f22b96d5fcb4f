"""The position-wise network of a transformer block: widen, activate, narrow.

Split among ranks by hidden units: Shoeybi et al., "Megatron-LM" (2019), section 3.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pycoll.train.array_module import Array
from pycoll.train.layers.gelu import GELU
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.layer import Layer
from pycoll.train.layers.swiglu import SwiGLU
from pycoll.train.tensor_parallel.column_linear import ColumnLinear
from pycoll.train.tensor_parallel.row_linear import RowLinear
from pycoll.train.tensor_parallel.tensor_group import ALONE, TensorGroup

Activation: TypeAlias = Literal["gelu", "swiglu"]


class FeedForward(Layer):
    """Map ``(..., width)`` to itself through hidden units.

    With "gelu" there are ``expansion * width`` of them. "swiglu" has a gate for each, hence three
    matrices instead of two; it has 2/3 as many units, which makes as many parameters.

    Sources: Vaswani et al., "Attention Is All You Need" (2017), section 3.3; Shazeer, "GLU Variants
    Improve Transformer" (2020), section 2.

    Parameters
    ----------
    activation : {"gelu", "swiglu"}
    tensor : TensorGroup
        The ranks that hold the layer together, each some of the hidden units.
    residual_std : float, optional
        Standard deviation of the output weights, which write to the residual stream.
    """

    def __init__(
        self,
        init: Initializer,
        width: int,
        tensor: TensorGroup = ALONE,
        *,
        activation: Activation = "gelu",
        expansion: int = 4,
        residual_std: float | None = None,
    ) -> None:
        gated = activation == "swiglu"
        hidden = expansion * width * 2 // 3 if gated else expansion * width
        blocks = 2 if gated else 1
        self.widen = ColumnLinear(init, width, blocks * hidden, tensor, blocks=blocks, bias=False)
        self.activation: Layer = SwiGLU(init) if gated else GELU(init)
        self.narrow = RowLinear(init, hidden, width, tensor, std=residual_std, bias=False)

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
