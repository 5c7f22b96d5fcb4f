"""The model of `pycoll.train.GPT` in PyTorch, with the same first values."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from pycoll.train import GPT, GPTConfig, Initializer


class _Block(nn.Module):  # type: ignore[misc]
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width, bias=False)
        self.narrow = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, -1)
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        hidden = functional.gelu(self.widen(self.feed_forward_norm(x)), approximate="tanh")
        return x + self.narrow(hidden)


class TorchGPT(nn.Module):  # type: ignore[misc]
    """Map tokens ``(batch, length)`` to scores ``(batch, length, vocabulary)``."""

    def __init__(self, config: GPTConfig, seed: int) -> None:
        super().__init__()
        if config.tied:
            raise ValueError("the peer's first and last layer do not share weights")
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Parameter(torch.empty(config.context, config.width))
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.final_norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        self._take_first_values(GPT(config, Initializer(seed)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores."""
        y = self.tokens(x) + self.positions[: x.shape[1]]
        for block in self.blocks:
            y = block(y)
        return self.head(self.final_norm(y))

    def _take_first_values(self, model: GPT) -> None:
        """Copy all parameters; those of linear layers lie transposed in PyTorch."""
        theirs = {_name_in_torch(name): p.data for name, p in model.named_parameters()}
        own = dict(self.named_parameters())
        assert theirs.keys() == own.keys(), theirs.keys() ^ own.keys()
        with torch.no_grad():
            for name, parameter in own.items():
                values = torch.from_numpy(theirs[name])
                is_linear = values.ndim == 2 and name not in ("tokens.weight", "positions")
                parameter.copy_(values.T if is_linear else values)


def _name_in_torch(name: str) -> str:
    for ours, theirs in (
        ("attention.qkv", "qkv"),
        ("attention.out", "out"),
        ("feed_forward.widen", "widen"),
        ("feed_forward.narrow", "narrow"),
        ("positions.weight", "positions"),
        ("norm.gain", "norm.weight"),
    ):
        name = name.replace(ours, theirs)
    return name
