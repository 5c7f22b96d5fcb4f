"""Batches depend on seed and step only; ranks cut them up without gap or overlap."""

from __future__ import annotations

import numpy as np
import pytest

from pycoll.train import RandomBatches, shard
from pycoll.train.data.batches import consecutive_windows

SIZES = [1, 2, 3, 4, 5, 7, 8, 64]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [0, 1, 5, 32, 1000])
def test_shards_cover_everything_once_and_evenly(count: int, size: int) -> None:
    pieces = [list(range(count)[shard(count, rank, size)]) for rank in range(size)]
    assert [element for piece in pieces for element in piece] == list(range(count))
    lengths = [len(piece) for piece in pieces]
    assert max(lengths) - min(lengths) <= 1


def batches(**changes: int) -> RandomBatches:
    options = {"context": 6, "batch_size": 10, "seed": 3, **changes}
    return RandomBatches(np.arange(50), **options)


@pytest.mark.parametrize("size", SIZES)
def test_the_global_batch_is_the_same_for_every_number_of_ranks(size: int) -> None:
    """With more ranks than sequences some get none."""
    whole = batches().part(7, 0, 1)
    parts = [batches().part(7, rank, size) for rank in range(size)]
    np.testing.assert_array_equal(np.concatenate([part.inputs for part in parts]), whole.inputs)
    np.testing.assert_array_equal(np.concatenate([part.targets for part in parts]), whole.targets)


def test_targets_are_the_inputs_one_later() -> None:
    part = batches().part(0, 0, 1)
    assert part.inputs.shape == part.targets.shape == (10, 6)
    np.testing.assert_array_equal(part.targets, part.inputs + 1)  # the text is 0, 1, 2, ...
    np.testing.assert_array_equal(np.diff(part.inputs), 1)


def test_seed_and_step_change_the_batch_and_nothing_else_does() -> None:
    first = batches().starts(0)
    np.testing.assert_array_equal(first, batches().starts(0))
    assert (first != batches().starts(1)).any()
    assert (first != batches(seed=4).starts(0)).any()


def test_windows_reach_both_ends_of_the_text() -> None:
    starts = batches(batch_size=2000).starts(0)
    assert starts.min() == 0
    assert starts.max() == 50 - 6 - 1  # its last target is the last character


def test_predictions_per_step() -> None:
    assert batches().targets_per_step == 60


@pytest.mark.parametrize(("length", "rows"), [(7, 1), (12, 1), (13, 2), (50, 8)])
def test_consecutive_windows_use_the_text_once(length: int, rows: int) -> None:
    windows = consecutive_windows(np.arange(length), 6)
    assert len(windows.inputs) == rows
    np.testing.assert_array_equal(windows.inputs.reshape(-1), np.arange(6 * rows))
    np.testing.assert_array_equal(windows.targets.reshape(-1), np.arange(6 * rows) + 1)
