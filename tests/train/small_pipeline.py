"""A small language model that is made in parts."""

from __future__ import annotations

import numpy as np

from pycoll.train import GPT, GPTConfig, Initializer

VOCABULARY, WIDTH, CONTEXT, BLOCKS = 11, 8, 6, 4
LAYERS = BLOCKS + 4


class Part(GPT):
    """Some layers of the model, with larger embeddings.

    With those that a `GPT` starts from, of 0.02, the first layer norm multiplies the rounding of
    float32 by 50, and 20 steps on one process are 1e-3 from those in float64.
    """

    def __init__(self, part: range, *, tied: bool, dtype: str = "float32") -> None:
        config = GPTConfig(VOCABULARY, CONTEXT, WIDTH, heads=2, layers=BLOCKS, tied=tied)
        super().__init__(config, Initializer(5, dtype), part=part)
        for name, parameter in self.named_parameters():
            if name in ("tokens.weight", "positions.weight", "head.weight"):
                parameter.data *= 25


def batch(step: int, sequences: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets, the same on all ranks."""
    tokens = np.random.default_rng((3, step)).integers(VOCABULARY, size=(sequences, CONTEXT + 1))
    return tokens[:, :-1], tokens[:, 1:]
