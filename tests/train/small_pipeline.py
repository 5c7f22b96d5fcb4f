"""A small language model that can be made in parts, and pipelines of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from pycoll.train import (
    Embedding,
    Initializer,
    Layer,
    LayerNorm,
    Linear,
    PositionEmbedding,
    TiedHead,
    TransformerBlock,
)

BLOCKS = 4
LAYERS = BLOCKS + 4
VOCABULARY, WIDTH, HEADS, CONTEXT = 11, 8, 2, 6


class Part(Layer):
    """Some layers of the model, under the names that they have in all of it."""

    def __init__(self, part: range, *, tied: bool, dtype: str = "float32") -> None:
        init = Initializer(5, dtype)
        names = ["tokens", "positions", *(f"block_{n}" for n in range(BLOCKS)), "norm", "head"]
        self.layers: dict[str, Layer] = {}
        for name in names[part.start : part.stop]:
            self.layers[name] = self._make(name, init.named(name), init, tied)

    def _make(self, name: str, own: Initializer, init: Initializer, tied: bool) -> Layer:
        if name == "tokens":
            return Embedding(own, VOCABULARY, WIDTH, std=0.5)
        if name == "positions":
            return PositionEmbedding(own, CONTEXT, WIDTH, std=0.5)
        if name == "norm":
            return LayerNorm(own, WIDTH)
        if name != "head":
            return TransformerBlock(own, WIDTH, HEADS, CONTEXT)
        if not tied:
            return Linear(own, WIDTH, VOCABULARY, bias=False)
        here = self.layers.get("tokens")
        if isinstance(here, Embedding):
            return TiedHead(here)
        head = TiedHead(Embedding(init.named("tokens"), VOCABULARY, WIDTH, std=0.5))
        head.weight.uses = 1
        return head

    def named_parameters(self) -> list[tuple[str, Any]]:
        found: dict[int, tuple[str, Any]] = {}
        for layer_name, layer in self.layers.items():
            # A tied head without its embedding still holds the embedding's weight.
            known = "tokens" if isinstance(layer, TiedHead) else layer_name
            for name, parameter in layer.named_parameters():
                found.setdefault(id(parameter), (f"{known}.{name}", parameter))
        return list(found.values())

    def forward(self, x: Any) -> tuple[Any, Any]:
        saved = []
        for layer in self.layers.values():
            x, saved_layer = layer.forward(x)
            saved.append(saved_layer)
        return x, saved

    def backward(self, saved: Any, dy: Any) -> Any:
        for layer, saved_layer in zip(reversed(self.layers.values()), reversed(saved), strict=True):
            dy = layer.backward(saved_layer, dy)
        return dy


def batch(step: int, sequences: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets, the same on all ranks."""
    tokens = np.random.default_rng((3, step)).integers(VOCABULARY, size=(sequences, CONTEXT + 1))
    return tokens[:, :-1], tokens[:, 1:]
