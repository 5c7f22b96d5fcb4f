"""Where each rank of a mesh stands, and which shapes fit a number of ranks."""

from __future__ import annotations

import re

import pytest

from pycoll.train import Coordinates, MeshShape


@pytest.mark.parametrize("shape", [MeshShape(), MeshShape(2, 3, 4), MeshShape(dp=5, pp=2)])
def test_ranks_and_coordinates_are_each_others_inverse(shape: MeshShape) -> None:
    places = [shape.coordinates(rank) for rank in range(shape.ranks)]
    assert len(set(places)) == shape.dp * shape.tp * shape.pp
    assert [shape.rank(at) for at in places] == list(range(shape.ranks))


def test_ranks_are_numbered_along_tp_then_dp_then_pp() -> None:
    shape = MeshShape(dp=2, tp=2, pp=2)
    assert shape.coordinates(1) == Coordinates(dp=0, tp=1, pp=0)
    assert shape.coordinates(2) == Coordinates(dp=1, tp=0, pp=0)
    assert shape.coordinates(4) == Coordinates(dp=0, tp=0, pp=1)


def test_the_picture_shows_every_rank_where_it_stands() -> None:
    expected = """
              pp 0          pp 1
              tp 0  tp 1    tp 0  tp 1
    dp 0         0     1       6     7
    dp 1         2     3       8     9
    dp 2         4     5      10    11"""
    lines = [line[4:] for line in expected.splitlines()[1:]]
    assert str(MeshShape(dp=3, tp=2, pp=2)).splitlines() == lines


@pytest.mark.parametrize("ranks", [1, 7, 12, 64])
def test_the_error_names_shapes_that_fit_those_nearest_first(ranks: int) -> None:
    with pytest.raises(ValueError, match=f"makes 30 rank.s., but there are {ranks};") as caught:
        MeshShape(dp=3, tp=2, pp=5).require_ranks(ranks)
    offers = re.findall(r"(\d+) x (\d+) x (\d+)", str(caught.value))
    shapes = [MeshShape(*map(int, offer)) for offer in offers]
    assert shapes
    assert len(set(shapes)) == len(shapes)
    assert all(shape.ranks == ranks for shape in shapes)
    if ranks == 12:
        assert shapes[:2] == [MeshShape(dp=3, tp=2, pp=2), MeshShape(dp=6, tp=2, pp=1)]


def test_a_shape_that_fits_is_accepted() -> None:
    MeshShape(dp=3, tp=2, pp=5).require_ranks(30)
