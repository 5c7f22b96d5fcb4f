"""Gradients scaled down where their norm, over all parameters on all ranks, is too great.

Each parameter counts once: of those that all ranks of a tensor-parallel group hold whole, the
copies of its first rank; of those split among them, all parts; every pipeline stage has its own.

Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks"
(2013), section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pycoll.train.array_module import Array, array_module_of
from pycoll.train.data_parallel.piece import Piece
from pycoll.train.layers.parameter import Parameter
from pycoll.train.mesh_shape import Coordinates
from pycoll.train.verdict import AgreedError

if TYPE_CHECKING:
    from pycoll import Communicator
    from pycoll.train.mesh import Mesh


class GradientNormError(AgreedError):
    """The global norm of the gradients is infinite or no number."""


def clip_gradients(
    parameters: Sequence[tuple[str, Parameter]],
    max_norm: float,
    mesh: Mesh | None = None,
    *,
    counted: Sequence[tuple[str, Parameter]] | None = None,
) -> float:
    """Scale all gradients by the same factor, so that their global norm is at most ``max_norm``.

    Collective over the mesh. Gradients must be complete, and added up over ``mesh.dp``.

    Parameters
    ----------
    parameters : sequence of (str, Parameter)
        Those of this rank, or what its optimizer has of them.
    max_norm : float
        Above 0; `math.inf` only measures.
    mesh : Mesh, optional
        Omitted where every rank has all parameters.
    counted : sequence of (str, Parameter), optional
        Those that this rank counts among the ranks of ``mesh.dp``. By default these have the same
        gradients, and the first counts all of them; where each has its part of them, pass that.

    Returns
    -------
    float
        The norm before, the same on all ranks.

    Raises
    ------
    ValueError
        For a ``max_norm`` that is not above 0, or pieces without ``counted``.
    GradientNormError
        On all ranks, where the norm is infinite or no number. Nothing has been scaled then.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, not {max_norm}")
    at = mesh.coordinates if mesh else Coordinates(0, 0, 0)
    if counted is None:
        if any(isinstance(parameter, Piece) for _, parameter in parameters):
            raise ValueError(
                "these parameters are pieces of a model's: pass counted=DataParallel.counted, "
                "which says which of them this rank counts"
            )
        counted = parameters if at.dp == 0 else ()
    own = squared_norm(p.grad for _, p in counted if counts(p, at.tp))
    norm = global_norm(own, mesh.comm if mesh else None)
    factor = clip_factor(norm, max_norm)
    if factor < 1:
        for _, parameter in parameters:
            parameter.grad *= factor
    return norm


def counts(parameter: Parameter, tensor_rank: int) -> bool:
    """Return whether a rank is the one that counts its part of a parameter.

    Parameters
    ----------
    tensor_rank : int
        Number of the rank in its tensor-parallel group.
    """
    return not parameter.is_copy and (parameter.shard is not None or tensor_rank == 0)


def squared_norm(arrays: Iterable[Array]) -> float:
    """Return the sum of the squares of all elements, in float64."""
    return math.fsum(_squared(array) for array in arrays)


def global_norm(squared: float, comm: Communicator | None = None) -> float:
    """Return the norm of what many ranks hold, with the same bits on all of them. Collective.

    Parameters
    ----------
    squared : float
        Of what this rank counts: 0 where it counts nothing.
    comm : Communicator, optional
        All ranks of a mesh: sums along its axes, one after the other, need not give all ranks the
        same bits, and then what they hold alike would drift apart.

    Raises
    ------
    ValueError
        For a ``max_norm`` that is not above 0, or pieces without ``counted``.
    GradientNormError
        On all ranks, where it is infinite or no number.
    """
    total = np.array([squared])
    if comm is not None:
        comm.all_reduce(total)
    norm = math.sqrt(total[0])
    if not math.isfinite(norm):
        raise GradientNormError(
            f"the norm of the gradients is {norm}; lower the learning rate or lengthen the warm-up"
        )
    return norm


def clip_factor(norm: float, max_norm: float) -> float:
    """Return by what gradients of this norm are to be multiplied; 1 where they are short enough."""
    return min(1.0, max_norm / norm) if norm else 1.0


def _squared(array: Array) -> float:
    # float64 from the start: the square of a large float32 is infinite, that of a small one 0.
    squares = array_module_of(array).multiply(array, array, dtype=np.float64)
    return float(squares.sum())
