"""The comparison with other libraries never times a wrong result."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from compare_package import compare_modules


@pytest.fixture(scope="module")
def compare() -> SimpleNamespace:
    """Return the modules that the ranks of a run load."""
    return compare_modules("job", "operation", "worker")


class Alone:
    """A library for one rank, of which the all_reduce does what it is told."""

    rank, size, version = 0, 1, "alone"

    def __init__(self, all_reduce: Any) -> None:
        self._all_reduce = all_reduce

    def empty(self, count: int) -> Any:
        return np.empty(count, np.float32)

    def all_reduce(self, vector: Any) -> Any:
        return partial(self._all_reduce, vector)

    def barrier(self) -> None:
        pass

    def maximum(self, values: Any) -> Any:
        return values


def test_right_result_is_timed(compare: Any) -> None:
    measured = compare.worker.measure(Alone(lambda vector: None), "all_reduce", 5000, 0.001)
    assert measured.wrong == 0
    assert len(measured.seconds) == 5
    assert all(seconds > 0 for seconds in measured.seconds)


def test_wrong_result_is_not_timed(compare: Any) -> None:
    def spoil(vector: Any) -> None:
        vector[-1] += 1

    measured = compare.worker.measure(Alone(spoil), "all_reduce", 5000, 0.001)
    assert (measured.wrong, measured.seconds) == (1, ())


def test_result_that_is_wrong_only_later_is_found(compare: Any) -> None:
    calls = itertools.count()

    def spoil_later(vector: Any) -> None:
        vector[:2] += next(calls) > 0

    measured = compare.worker.measure(Alone(spoil_later), "all_reduce", 5000, 0.001)
    assert measured.wrong == 2


def test_ranks_that_do_not_see_each_other_are_an_error(
    compare: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = Alone(lambda vector: None)
    monkeypatch.setattr(compare.worker, "open_library", lambda name, memory: library)
    job = compare.job.Job("mpi", False, 2, "all_reduce", (2,), 0.001, str(tmp_path / "results"))
    assert compare.job.Job.from_text(job.to_text()) == job
    with pytest.raises(RuntimeError, match="2 ranks were started, but alone sees 1"):
        compare.worker.run(job)


def result_by_numpy(collective: str, sent: list[Any], rank: int) -> Any:
    """Return what a rank gets from what the ranks sent."""

    def blocks_for_rank() -> list[Any]:
        return [np.split(each, len(sent))[rank] for each in sent]

    match collective:
        case "broadcast":
            return sent[0]
        case "all_gather":
            return np.concatenate(sent)
        case "all_to_all":
            return np.concatenate(blocks_for_rank())
        case "reduce_scatter":
            return sum(blocks_for_rank())
    return sum(sent)


@pytest.mark.parametrize(
    ("collective", "receivers", "shift"),
    [
        ("all_reduce", (0, 1, 2), 1),
        ("reduce", (0,), 1),
        ("broadcast", (0, 1, 2), 1),
        ("reduce_scatter", (0, 1, 2), 1),
        # By a block: the contributions of two ranks are exchanged.
        ("all_gather", (0, 1, 2), 1500),
        ("all_to_all", (0, 1, 2), 1500),
    ],
)
def test_result_by_numpy_is_right_unless_it_is_shifted(
    compare: Any, collective: str, receivers: tuple[int, ...], shift: int
) -> None:
    ranks, count = 3, 1500
    operations = []
    for rank in range(ranks):
        library = SimpleNamespace(rank=rank, size=ranks, empty=partial(np.empty, dtype=np.float32))
        setattr(library, collective, lambda *operands: operands)
        operations.append(compare.operation.Operation(library, collective, count))
        operations[-1].fill()
    sent = [operation.call[0].copy() for operation in operations]
    results = [operation.call[-1] for operation in operations]
    for rank in receivers:
        results[rank][:] = result_by_numpy(collective, sent, rank)
    assert [operation.count_wrong() for operation in operations] == [0, 0, 0]
    for rank in receivers:
        results[rank][:] = np.roll(results[rank], shift)
        assert operations[rank].count_wrong() > results[rank].size / 2
