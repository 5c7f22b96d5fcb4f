"""What the layers of a model cost, to share them out among stages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pycoll.train.array_module import Array, array_module_of
from pycoll.train.layers.layer import Layer
from pycoll.train.layers.parameter import Parameter
from pycoll.train.verdict import agreed

if TYPE_CHECKING:
    from pycoll import Communicator

#: Makes some consecutive layers of a model, by their numbers.
MakePart: TypeAlias = Callable[[range], Layer]

# The fastest of three runs: the first one warms caches up, others may be interrupted.
_RUNS = 3


def parameter_costs(make_part: MakePart, layers: int) -> list[float]:
    """Return the number of parameters of each layer: what it costs in memory.

    It is also in proportion to the time of matrix products, but not to that of a token embedding,
    which only looks up. Every layer is made once, one at a time.

    Parameters that a tensor group holds together count as a whole: parts may differ in size, and
    all ranks of the group must get the same numbers, to have the same layers.
    """
    return [
        float(sum(_whole_size(parameter) for _, parameter in layer.named_parameters()))
        for layer in _each(make_part, layers)
    ]


def measured_costs(
    make_part: MakePart, layers: int, comm: Communicator, inputs: Array
) -> list[float]:
    """Return how long a forward and a backward pass of each layer takes, in seconds. Collective.

    Rank 0 measures, so that all get the same numbers; it makes the layers one at a time. A layer
    must be able to run without other ranks: a model that is split among a tensor group is measured
    by one that is not.

    Parameters
    ----------
    comm : Communicator
        All ranks that hold parts of the model or copies of them, such as ``mesh.comm``: two ranks
        that measure do not find the same.
    inputs : Array
        A micro-batch. Only rank 0's counts.

    Raises
    ------
    RefusedError
        On all ranks, when a layer cannot take these inputs.
    """
    costs = np.zeros(layers)
    with agreed(comm):
        if comm.rank == 0:
            x = inputs
            for index, layer in enumerate(_each(make_part, layers)):
                costs[index], x = _time(layer, x)
    comm.broadcast(costs, root=0)
    return [float(cost) for cost in costs]


def _each(make_part: MakePart, layers: int) -> Iterator[Layer]:
    yield from (make_part(range(index, index + 1)) for index in range(layers))


def _whole_size(parameter: Parameter) -> int:
    return parameter.data.size if parameter.shard is None else math.prod(parameter.shard.shape)


def _time(layer: Layer, x: Array) -> tuple[float, Array]:
    """Return the time of both passes, and the output."""
    times = []
    for _ in range(_RUNS):
        layer.clear_gradients()
        started = perf_counter()
        y, saved = layer.forward(x)
        layer.backward(saved, array_module_of(y).ones_like(y))
        times.append(perf_counter() - started)
    # Backward may have overwritten what forward returned.
    return min(times), layer.forward(x)[0]
