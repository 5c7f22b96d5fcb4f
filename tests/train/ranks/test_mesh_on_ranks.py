"""A mesh on several ranks: who is on which axis, and what is refused on all of them."""

from __future__ import annotations

import numpy as np
import pytest

import pycoll
from pycoll.train import Mesh, RefusedError

comm = pycoll.world()


@pytest.mark.parametrize("sizes", [{"dp": comm.size + 1}, {"tp": 2 * comm.size}, {"pp": 0}])
def test_a_mesh_of_another_number_of_ranks_is_refused(sizes: dict[str, int]) -> None:
    text = "pp must be at least 1" if "pp" in sizes else f"there are {comm.size}; .* {comm.size} x "
    with pytest.raises(RefusedError, match=text):
        Mesh(comm, **sizes)


@pytest.mark.skipif(comm.size == 1, reason="one rank agrees with itself")
def test_ranks_that_want_different_meshes_are_refused() -> None:
    sizes = {"dp": comm.size} if comm.rank < comm.size - 1 else {"tp": comm.size}
    with pytest.raises(RefusedError, match=f"rank 0 .* dp {comm.size} .*, rank {comm.size - 1} "):
        Mesh(comm, **sizes)


def test_each_axis_holds_the_ranks_along_it() -> None:
    pp = 2 if comm.size % 2 == 0 else 1
    tp = 2 if comm.size % 4 == 0 else 1
    mesh = Mesh(comm, dp=comm.size // tp // pp, tp=tp, pp=pp)
    for axis in ("dp", "tp", "pp"):
        along: pycoll.Communicator = getattr(mesh, axis)
        assert along.rank == getattr(mesh.coordinates, axis)
        expected = [
            mesh.shape.rank(mesh.coordinates._replace(**{axis: index}))
            for index in range(getattr(mesh.shape, axis))
        ]
        assert along.all_gather(np.array([comm.rank])).tolist() == expected
    assert f"this is rank {comm.rank} at dp {mesh.coordinates.dp}, " in str(mesh)
