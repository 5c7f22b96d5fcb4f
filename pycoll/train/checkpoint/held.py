"""The arrays of a run that a checkpoint is made of, each with its place in the whole model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pycoll.train.array_module import Array
from pycoll.train.checkpoint.place import Place
from pycoll.train.layers.parameter import Parameter
from pycoll.train.optim.optimizer import Optimizer


@dataclass(frozen=True)
class Held:
    """An array that this rank holds.

    Attributes
    ----------
    name : str
        Of the tensor that it is a part of; the same on all ranks, once on each.
    place : Place
        Ranks that hold the same elements of a tensor hold the same bits.
    array : Array
        Of ``place.size`` elements, in any shape.
    """

    name: str
    place: Place
    array: Array


def held_by(parameters: Sequence[tuple[str, Parameter]], optimizer: Optimizer) -> list[Held]:
    """Return what a run consists of on this rank: its parameters and its optimizer's state.

    Parameters
    ----------
    parameters : sequence of (str, Parameter)
        Those that the optimizer steps on (`DataParallel.parameters`), under their global names.
    """
    held = [
        Held(f"model.{name}", Place.of(parameter), parameter.data) for name, parameter in parameters
    ]
    for name, array in optimizer.state_dict().items():
        parameter = optimizer.parameter_of(name)
        place = Place.of_whole(array.shape) if parameter is None else Place.of(parameter)
        held.append(Held(f"optimizer.{name}", place, array))
    return held
