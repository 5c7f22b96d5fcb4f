"""What every layer is: a forward function, a backward function and named parameters.

The protocol, with arrays of any number of leading (batch) axes:

- ``forward(x) -> (y, saved)``: ``saved`` is whatever ``backward`` needs, and opaque to the caller.
- ``backward(saved, dy) -> dx``: accumulates the gradients of the layer's parameters and returns
  the gradient with respect to ``x``. Once per ``saved``: it may be overwritten.
- Arguments are never written to, and ``x`` must stay as it is until ``backward`` has run.
  Results are fresh: the caller may overwrite them.

Nothing is kept in the layer between the two calls, so several micro-batches can be in flight.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from pycoll.train.layers.parameter import Parameter


class Layer(ABC):
    """A piece of a model; see the module's text for the protocol."""

    @abstractmethod
    def forward(self, x: Any) -> tuple[Any, Any]:
        """Return ``(y, saved)``."""

    @abstractmethod
    def backward(self, saved: Any, dy: Any) -> Any:
        """Accumulate parameter gradients and return ``dx``."""

    def children(self) -> Iterable[tuple[str, Any]]:
        """Return what the layer is made of, by name, in the order of the forward pass.

        Layers, parameters and lists of them count; anything else is passed over. By default all
        attributes, in the order in which they were set in ``__init__``.
        """
        return vars(self).items()

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Return all parameters as ``(dotted name, parameter)``, in the order of the forward pass.

        A parameter that two layers share appears once, under the name that comes first.
        """
        seen: set[int] = set()
        named = []
        for name, parameter in _walk(self, ""):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                named.append((name, parameter))
        return named

    def clear_gradients(self, passes: int = 1) -> None:
        """Call `Parameter.clear_gradient` on every parameter."""
        for _, parameter in self.named_parameters():
            parameter.clear_gradient(passes)


def _walk(value: Any, name: str) -> Iterator[tuple[str, Parameter]]:
    if isinstance(value, Parameter):
        yield name, value
    elif isinstance(value, Layer):
        for key, child in value.children():
            yield from _walk(child, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _walk(element, f"{name}.{index}")
