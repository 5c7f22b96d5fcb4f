"""A decoder-only transformer that predicts the next token.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, get_args

from pycoll.train.array_module import Array
from pycoll.train.layers.cross_entropy import CrossEntropy
from pycoll.train.layers.embedding import Embedding, TiedHead
from pycoll.train.layers.feed_forward import Activation
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.layer import Layer
from pycoll.train.layers.layer_norm import LayerNorm
from pycoll.train.layers.position_embedding import PositionEmbedding
from pycoll.train.layers.recompute import Recompute
from pycoll.train.layers.transformer_block import TransformerBlock
from pycoll.train.models.chain import Chain
from pycoll.train.tensor_parallel.column_linear import ColumnLinear
from pycoll.train.tensor_parallel.tensor_group import ALONE, TensorGroup

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
    activation : {"gelu", "swiglu"}
        Of the feed-forward networks.
    """

    vocabulary: int
    context: int
    width: int
    heads: int
    layers: int
    tied: bool = False
    activation: Activation = "gelu"

    def __post_init__(self) -> None:
        for name in ("vocabulary", "context", "width", "heads", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.activation not in get_args(Activation):
            raise ValueError(f"unknown activation {self.activation!r}; choose 'gelu' or 'swiglu'")


class GPT(Chain):
    """Map tokens ``(batch, length)`` to scores ``(batch, length, vocabulary)``.

    Parameters
    ----------
    tensor : TensorGroup
        The ranks that hold the model together. Each gets the scores of its part of the vocabulary:
        `criterion` takes them so.
    part : range, optional
        Which of the layers, as `layer_names` numbers them, to make: a pipeline stage. It maps what
        the layers before it return. Of a tied model, a part with the head but without the embedding
        has a copy of "tokens.weight". Copies start equal; for them to stay so, their gradients must
        be added up.
    recompute : bool
        Whether blocks save their inputs only; see `Recompute`.
    """

    def __init__(
        self,
        config: GPTConfig,
        init: Initializer,
        tensor: TensorGroup = ALONE,
        *,
        part: range | None = None,
        recompute: bool = False,
    ) -> None:
        self.config = config
        self.xp = init.xp
        self.tensor = tensor
        tensor.positions(config.context)  # refuses one that does not divide
        width, vocabulary = config.width, config.vocabulary
        # Each block adds to the residual stream twice; this keeps its variance at the end the
        # same for every depth.
        residual_std = 1 / math.sqrt(width * 2 * config.layers)

        def block(name: str) -> Layer:
            made = TransformerBlock(
                init.named(name),
                width,
                config.heads,
                config.context,
                tensor,
                activation=config.activation,
                residual_std=residual_std,
            )
            return Recompute(made) if recompute else made

        @cache
        def tokens() -> Embedding:
            return Embedding(init.named("tokens"), vocabulary, width, tensor, std=_EMBEDDING_STD)

        def positions() -> Layer:
            return PositionEmbedding(
                init.named("positions"), config.context, width, tensor, std=_EMBEDDING_STD
            )

        def head() -> Layer:
            if config.tied:
                return TiedHead(tokens())
            return ColumnLinear(
                init.named("head"), width, vocabulary, tensor, std=_EMBEDDING_STD, bias=False
            )

        makers: dict[str, Callable[[], Layer]] = {
            "tokens": tokens,
            "positions": positions,
            **{name: partial(block, name) for name in _block_names(config)},
            "final_norm": lambda: LayerNorm(init.named("final_norm"), width, tensor),
            "head": head,
        }
        super().__init__(makers, part)
        last = self.layers.get("head")
        if isinstance(last, TiedHead) and "tokens" not in self.layers:
            # The embedding was made for its weight only.
            last.weight.uses = 1
            last.weight.is_copy = True

    @staticmethod
    def layer_names(config: GPTConfig) -> list[str]:
        """Return the names of all layers, in their order."""
        return ["tokens", "positions", *_block_names(config), "final_norm", "head"]

    def children(self) -> Iterable[tuple[str, Any]]:
        head = self.layers.get("head")
        if isinstance(head, TiedHead):
            # First, under the name that it has in a whole model, also where the embedding itself
            # is in another part.
            yield "tokens.weight", head.weight
        yield from super().children()

    def forward(self, x: Array) -> tuple[Array, Any]:
        if "tokens" in self.layers and x.shape[1] > self.config.context:
            raise ValueError(
                f"{x.shape[1]} tokens do not fit into the context of {self.config.context}; "
                "pass the last ones only, or make a model with a longer context"
            )
        return super().forward(x)

    def criterion(self) -> CrossEntropy:
        """Return the loss function for the scores that this rank gets."""
        return CrossEntropy(self.xp, self.tensor, classes=self.config.vocabulary)

    def next_scores(self, tokens: Array) -> Array:
        """Return the scores ``(batch, vocabulary)`` of what follows the tokens ``(batch, length)``.

        Collective over the tensor group, all ranks of which get the scores of all tokens.
        """
        length = tokens.shape[1]
        padding = self.tensor.padding(length)
        zeros = self.xp.zeros((tokens.shape[0], padding), dtype=tokens.dtype)
        scores, _ = self.forward(self.xp.concatenate([tokens, zeros], axis=1))
        return self.tensor.gather_last_axis(scores[:, length - 1], self.config.vocabulary)


def _block_names(config: GPTConfig) -> list[str]:
    return [f"blocks.{number}" for number in range(config.layers)]
