"""Pieces of tensors: what two of them have in common, and which rank writes what."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycoll.train import Parameter, Piece, Place
from pycoll.train.checkpoint.division import entries_to_write
from pycoll.train.checkpoint.intervals import Intervals
from pycoll.train.checkpoint.manifest import Entry, entry_from_json, entry_to_json
from pycoll.train.checkpoint.place import copy_runs, overlap
from pycoll.train.layers.shard import Shard

Shape = tuple[int, ...]


def elements(place: Place) -> np.ndarray:
    """Return the indices into the flattened whole, by slicing an array of them."""
    whole = np.arange(math.prod(place.shape)).reshape(place.shape)
    part = whole if place.shard is None else place.shard.part_of(whole)
    return part.reshape(-1)[place.start : place.stop]


@st.composite
def places(draw: st.DrawFn, shape: Shape) -> Place:
    shard = None
    if shape and draw(st.booleans()):
        axis = draw(st.integers(0, len(shape) - 1))
        cuts = sorted(draw(st.lists(st.integers(0, shape[axis]), min_size=2, max_size=6)))
        ranges = list(zip(cuts[0::2], cuts[1::2], strict=False))
        shard = Shard(shape, axis, tuple(draw(st.permutations(ranges))))
    size = math.prod(shape if shard is None else shard.part_shape)
    start, stop = sorted((draw(st.integers(0, size)), draw(st.integers(0, size))))
    return Place(shape, shard, start, stop)


SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)


@given(SHAPES.flatmap(lambda shape: st.tuples(places(shape), places(shape))))
@settings(max_examples=300, deadline=None)
def test_copying_between_places_moves_just_what_they_share(pair: tuple[Place, Place]) -> None:
    source, target = pair
    found = np.full(target.size, -1)
    runs = overlap(source, target)
    copy_runs(runs, elements(source), found)
    wanted = elements(target)
    np.testing.assert_array_equal(found, np.where(np.isin(wanted, elements(source)), wanted, -1))
    assert runs.length.sum() == np.isin(wanted, elements(source)).sum()


@given(SHAPES.flatmap(places))
@settings(max_examples=100, deadline=None)
def test_places_survive_the_manifest(place: Place) -> None:
    entry = Entry("name", "float32", place, "file")
    assert entry_from_json(entry_to_json(entry)) == entry


def test_runs_are_as_few_as_possible() -> None:
    assert len(Place((4, 6), None, 1, 23).runs().length) == 1
    assert len(Place((4, 6), Shard((4, 6), 0, ((1, 2), (2, 4))), 0, 18).runs().length) == 1
    assert len(Place((4, 6), Shard((4, 6), 1, ((0, 2), (3, 4))), 0, 12).runs().length) == 8


@pytest.mark.parametrize("bad", [(0, 7), (-1, 2), (3, 2)])
def test_places_outside_are_refused(bad: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="outside a part of shape"):
        Place((2, 3), None, *bad)
    with pytest.raises(ValueError, match="is no part of a tensor of shape"):
        Place((2, 3), Shard((3, 2), 0, ((0, 1),)), 0, 2)


PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), max_size=5)


@given(st.lists(PAIRS, max_size=4), PAIRS, st.integers(0, 30))
@settings(max_examples=300, deadline=None)
def test_intervals_are_sets(
    added: list[list[tuple[int, int]]], asked: list[tuple[int, int]], size: int
) -> None:
    """Starts and lengths; an empty stretch is no part of the set and asks for nothing."""
    intervals, expected = Intervals(), set()
    for pairs in added:
        some = np.array([pair for pair in pairs if pair[1]], dtype=np.int64).reshape(-1, 2)
        intervals.add(some[:, 0], some.sum(axis=1))
        expected |= {number for start, length in pairs for number in range(start, start + length)}
    some = np.array([pair for pair in asked if pair[1]], dtype=np.int64).reshape(-1, 2)
    wanted = {number for start, length in asked for number in range(start, start + length)}
    assert intervals.contain(some[:, 0], some.sum(axis=1)) == (wanted <= expected)
    assert intervals.cover(size) == (set(range(size)) <= expected)


def test_parameters_and_pieces_know_their_place() -> None:
    shard = Shard((2, 6), 1, ((0, 1), (4, 6)))
    whole = Parameter(np.zeros((2, 3)), np.zeros((2, 3)))
    part = Parameter(np.zeros((2, 3)), np.zeros((2, 3)), shard)
    assert Place.of(whole) == Place((2, 3), None, 0, 6)
    assert Place.of(part) == Place((2, 6), shard, 0, 6)
    piece = Piece(part, 1, 4, data=np.zeros(3), grad=np.zeros(3))
    assert Place.of(piece) == Place((2, 6), shard, 1, 4)
    assert Place.of(Piece(whole, 1, 4, data=np.zeros(3), grad=np.zeros(3))) == Place(
        (2, 3), None, 1, 4
    )


def entry(
    start: int, stop: int, *, shape: Shape = (6,), dtype: str = "float32", name: str = "w"
) -> Entry:
    return Entry(name, dtype, Place(shape, None, start, stop), "file")


def test_the_lowest_rank_writes_what_several_hold() -> None:
    whole, steps = entry(0, 6), entry(0, 1, shape=(1,), name="steps")
    assert entries_to_write([[whole, steps], [whole, steps]]) == [[whole, steps], []]
    left, right = entry(0, 3), entry(3, 6)
    assert entries_to_write([[right], [left], [left], [right]]) == [[right], [left], [], []]
    # Replicas that are cut in different ways: all elements, some of them twice.
    assert entries_to_write([[entry(0, 2)], [entry(1, 6)], [entry(2, 4)]])[1:] == [
        [entry(1, 6)],
        [],
    ]


def test_a_tensor_without_elements_is_written() -> None:
    empty = entry(0, 0, shape=(0, 3))
    assert entries_to_write([[empty], [empty]]) == [[empty], []]


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ([[entry(0, 3)], [entry(4, 6)]], "no rank holds some of the elements of 'w'"),
        ([[entry(0, 6)], [entry(0, 6, shape=(7,))]], r"shape \(7,\).* on rank 1, but \(6,\)"),
        ([[entry(0, 6)], [entry(0, 6, dtype="float64")]], "dtype float64 on rank 1"),
        ([[entry(0, 3), entry(3, 6)]], "rank 0 holds w more than once"),
    ],
)
def test_what_does_not_make_a_whole_is_refused(held: list[list[Entry]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        entries_to_write(held)
