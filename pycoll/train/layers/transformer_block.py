"""A pre-norm transformer block: attention and feed-forward, each added to its input.

Source: Xiong et al., "On Layer Normalization in the Transformer Architecture" (2020), section 3.
"""

from __future__ import annotations

from typing import Any

from pycoll.train.array_module import Array
from pycoll.train.layers.attention import CausalAttention
from pycoll.train.layers.feed_forward import Activation, FeedForward
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.layer import Layer
from pycoll.train.layers.layer_norm import LayerNorm
from pycoll.train.tensor_parallel.tensor_group import ALONE, TensorGroup


class TransformerBlock(Layer):
    """Map resident ``(batch, length, width)`` to itself.

    Parameters
    ----------
    tensor : TensorGroup
        The ranks that hold the block together.
    activation : {"gelu", "swiglu"}
        Of the feed-forward network.
    """

    def __init__(
        self,
        init: Initializer,
        width: int,
        heads: int,
        context: int,
        tensor: TensorGroup = ALONE,
        *,
        activation: Activation = "gelu",
        residual_std: float | None = None,
    ) -> None:
        self.attention_norm = LayerNorm(init, width, tensor)
        self.attention = CausalAttention(
            init, width, heads, context, tensor, residual_std=residual_std
        )
        self.feed_forward_norm = LayerNorm(init, width, tensor)
        self.feed_forward = FeedForward(
            init, width, tensor, activation=activation, residual_std=residual_std
        )

    def forward(self, x: Array) -> tuple[Array, Any]:
        normal, saved_attention_norm = self.attention_norm.forward(x)
        middle, saved_attention = self.attention.forward(normal)
        middle += x
        normal, saved_feed_forward_norm = self.feed_forward_norm.forward(middle)
        y, saved_feed_forward = self.feed_forward.forward(normal)
        y += middle
        return y, (
            saved_attention_norm,
            saved_attention,
            saved_feed_forward_norm,
            saved_feed_forward,
        )

    def backward(self, saved: Any, dy: Array) -> Array:
        (
            saved_attention_norm,
            saved_attention,
            saved_feed_forward_norm,
            saved_feed_forward,
        ) = saved
        dnormal = self.feed_forward.backward(saved_feed_forward, dy)
        dmiddle = self.feed_forward_norm.backward(saved_feed_forward_norm, dnormal)
        dmiddle += dy
        dnormal = self.attention.backward(saved_attention, dmiddle)
        dx = self.attention_norm.backward(saved_attention_norm, dnormal)
        dx += dmiddle
        return dx
