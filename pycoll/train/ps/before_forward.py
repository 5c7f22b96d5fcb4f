"""Learn when a layer is about to use its parameters, whatever the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from pycoll.train.layers.layer import Layer
from pycoll.train.layers.parameter import Parameter


@contextmanager
def before_forward(model: Layer, use: Callable[[list[Parameter]], None]) -> Iterator[None]:
    """Inside the block, call ``use`` with a layer's own parameters before each of its forwards.

    The layer's ``forward`` is covered by one that does so; layers without parameters of their own
    stay as they are.
    """
    covered = []
    try:
        for layer in _layers(model, set()):
            own = list(_own_parameters([child for _, child in layer.children()]))
            if own:
                vars(layer)["forward"] = _covering(layer.forward, own, use)
                covered.append(layer)
        yield
    finally:
        for layer in covered:
            del vars(layer)["forward"]


def _covering(
    forward: Callable[[Any], tuple[Any, Any]],
    parameters: list[Parameter],
    use: Callable[[list[Parameter]], None],
) -> Callable[[Any], tuple[Any, Any]]:
    @wraps(forward)
    def covering(x: Any) -> tuple[Any, Any]:
        use(parameters)
        return forward(x)

    return covering


def _layers(value: Any, seen: set[int]) -> Iterator[Layer]:
    if isinstance(value, Layer) and id(value) not in seen:
        seen.add(id(value))
        yield value
        for _, child in list(value.children()):
            yield from _layers(child, seen)
    elif isinstance(value, list):
        for element in value:
            yield from _layers(element, seen)


def _own_parameters(value: Any) -> Iterator[Parameter]:
    if isinstance(value, Parameter):
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from _own_parameters(element)
