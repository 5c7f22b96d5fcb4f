"""Layers one after the other, each under its name; or some of them, for a pipeline stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pycoll.train.layers.layer import Layer


class Chain(Layer):
    """A layer that passes its input through others.

    Parameters
    ----------
    makers : mapping of str to callable
        What makes each layer, in their order. Only those of this chain's part are called.
    part : range, optional
        Numbers of the layers to make, of consecutive ones; all by default.

    Attributes
    ----------
    layers : dict of str to Layer
        Those made. Their names, and with them those of the parameters, do not depend on ``part``.
    """

    def __init__(
        self, makers: Mapping[str, Callable[[], Layer]], part: range | None = None
    ) -> None:
        names = list(makers)
        numbers = range(len(names)) if part is None else part
        if not numbers or numbers.step != 1 or numbers[0] < 0 or numbers[-1] >= len(names):
            raise ValueError(
                f"part is {part}; it must be a range of consecutive numbers of the {len(names)} "
                "layers, with one of them at least"
            )
        self.part = numbers
        self.layers = {names[number]: makers[names[number]]() for number in numbers}

    def children(self) -> Iterable[tuple[str, Any]]:
        return self.layers.items()

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
