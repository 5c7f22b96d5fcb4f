"""Less memory for more work: what a layer saves is computed again when backward needs it.

Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016), section 4.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pycoll.train.array_module import Array
from pycoll.train.layers.layer import Layer


class Recompute(Layer):
    """Do what a layer does, and keep nothing but its input between forward and backward.

    Parameters keep the names that they have without it. It costs a second forward pass, together
    with the collectives in that.
    """

    def __init__(self, layer: Layer) -> None:
        self.layer = layer

    def children(self) -> Iterable[tuple[str, Any]]:
        return self.layer.children()

    def forward(self, x: Array) -> tuple[Array, Any]:
        y, _ = self.layer.forward(x)
        return y, x

    def backward(self, saved: Any, dy: Array) -> Any:
        _, saved_layer = self.layer.forward(saved)
        return self.layer.backward(saved_layer, dy)
