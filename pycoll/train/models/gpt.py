"""A decoder-only transformer that predicts the next token.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pycoll.train.array_module import Array
from pycoll.train.layers.embedding import Embedding, TiedHead
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.layer import Layer
from pycoll.train.layers.layer_norm import LayerNorm
from pycoll.train.layers.linear import Linear
from pycoll.train.layers.position_embedding import PositionEmbedding
from pycoll.train.layers.transformer_block import TransformerBlock

_EMBEDDING_STD = 0.02


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a `GPT`.

    Attributes
    ----------
    vocabulary : int
        Number of different tokens.
    context : int
        Greatest number of tokens that a prediction sees.
    width : int
        Length of the vector per position; a multiple of ``heads``.
    tied : bool
        Whether the output layer shares the weight of the token embedding.
    """

    vocabulary: int
    context: int
    width: int
    heads: int
    layers: int
    tied: bool = False

    def __post_init__(self) -> None:
        for name in ("vocabulary", "context", "width", "heads", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")


class GPT(Layer):
    """Map tokens ``(batch, length)`` to scores ``(batch, length, vocabulary)``."""

    def __init__(self, config: GPTConfig, init: Initializer) -> None:
        self.config = config
        self.xp = init.xp
        width, layers = config.width, config.layers
        # Each block adds to the residual stream twice; this keeps its variance at the end the
        # same for every depth.
        residual_std = 1 / math.sqrt(width * 2 * layers)
        self.tokens = Embedding(init.named("tokens"), config.vocabulary, width, std=_EMBEDDING_STD)
        self.positions = PositionEmbedding(
            init.named("positions"), config.context, width, std=_EMBEDDING_STD
        )
        self.blocks = [
            TransformerBlock(
                init.named(f"blocks.{index}"),
                width,
                config.heads,
                config.context,
                residual_std=residual_std,
            )
            for index in range(layers)
        ]
        self.final_norm = LayerNorm(init.named("final_norm"), width)
        self.head: Layer = (
            TiedHead(self.tokens)
            if config.tied
            else Linear(
                init.named("head"), width, config.vocabulary, std=_EMBEDDING_STD, bias=False
            )
        )

    def forward(self, x: Array) -> tuple[Array, Any]:
        if x.shape[1] > self.config.context:
            raise ValueError(
                f"{x.shape[1]} tokens do not fit into the context of {self.config.context}; "
                "pass the last ones only, or make a model with a longer context"
            )
        saved = []
        for layer in self._layers():
            x, saved_layer = layer.forward(x)
            saved.append(saved_layer)
        return x, saved

    def backward(self, saved: Any, dy: Array) -> None:
        for layer, saved_layer in zip(reversed(self._layers()), reversed(saved), strict=True):
            dy = layer.backward(saved_layer, dy)

    def _layers(self) -> list[Layer]:
        return [self.tokens, self.positions, *self.blocks, self.final_norm, self.head]
