"""The ranks of a program as a mesh whose axes are communicators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pycoll.train.mesh_shape import Coordinates, MeshShape
from pycoll.train.verdict import RefusedError, agreed

if TYPE_CHECKING:
    from pycoll import Communicator


class Mesh:
    """Ranks in three named axes. Making one is collective.

    Parameters
    ----------
    comm : Communicator
        All ranks of the mesh.
    dp, tp, pp : int
        Ranks along each axis. They must multiply to ``comm.size``, and be equal on all ranks.

    Attributes
    ----------
    shape : MeshShape
    coordinates : Coordinates
        Where this rank stands.
    dp, tp, pp : Communicator
        The ranks that differ from this one along one axis only; this rank's number in each is its
        coordinate.

    Raises
    ------
    RefusedError
        On all ranks, when the sizes do not fit the number of ranks; the text names those that
        would. Also when not all ranks ask for the same sizes.

    Examples
    --------
    >>> mesh = Mesh(pycoll.world(), dp=2, tp=2, pp=2)
    >>> print(mesh)
    mesh of 8 ranks, dp 2 x tp 2 x pp 2; this is rank 5 at dp 0, tp 1, pp 1
              pp 0          pp 1
              tp 0  tp 1    tp 0  tp 1
    dp 0         0     1       4     5
    dp 1         2     3       6     7
    """

    def __init__(self, comm: Communicator, *, dp: int = 1, tp: int = 1, pp: int = 1) -> None:
        with agreed(comm):
            self.shape = MeshShape(dp, tp, pp)
            self.shape.require_ranks(comm.size)
        _require_same_shape(comm, self.shape)
        self.comm = comm
        self.coordinates = self.shape.coordinates(comm.rank)
        self.dp = self._axis("dp")
        self.tp = self._axis("tp")
        self.pp = self._axis("pp")

    def __str__(self) -> str:
        """Return a picture of the mesh as text."""
        at = self.coordinates
        return (
            f"mesh of {self.comm.size} ranks, dp {self.shape.dp} x tp {self.shape.tp} x "
            f"pp {self.shape.pp}; this is rank {self.comm.rank} at dp {at.dp}, tp {at.tp}, "
            f"pp {at.pp}\n{self.shape}"
        )

    def _axis(self, name: str) -> Communicator:
        """Return the communicator of the ranks that stand where this one does but for one axis."""
        first = self.coordinates._replace(**{name: 0})
        made = self.comm.split(self.shape.rank(first), key=getattr(self.coordinates, name))
        assert made is not None  # only a rank without a color is in no communicator
        return made


def _require_same_shape(comm: Communicator, shape: MeshShape) -> None:
    own = np.array([shape.dp, shape.tp, shape.pp], dtype=np.int64)
    shapes = comm.all_gather(own).reshape(comm.size, 3)
    other = np.flatnonzero((shapes != shapes[0]).any(axis=1))
    if other.size:
        rank = int(other[0])
        raise RefusedError(
            f"rank 0 asks for a mesh of {_by_axis(shapes[0])}, rank {rank} for "
            f"{_by_axis(shapes[rank])}; all ranks must ask for the same"
        )


def _by_axis(sizes: np.ndarray) -> str:
    pairs = zip(Coordinates._fields, sizes, strict=True)
    return " x ".join(f"{axis} {size}" for axis, size in pairs)
