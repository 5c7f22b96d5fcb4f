"""Rounds, iterations and medians."""

from __future__ import annotations

import pytest
from mpi4py import MPI

from pycoll.bench.timing import Effort, Timing, ratio, share_budget, time_in_turns


def test_iterations_fill_the_budget() -> None:
    effort = Effort(iterations=None, rounds=None, warmups=1, seconds=0.9)
    rounds, iterations = share_budget([1e-3, 10e-3], effort)
    # 0.9 s in 9 rounds of 2 turns: 50 ms each.
    assert (rounds, iterations) == (9, [50, 5])


def test_long_calls_get_few_rounds_of_one_iteration() -> None:
    effort = Effort(iterations=None, rounds=None, warmups=1, seconds=0.5)
    assert share_budget([2.0], effort) == (3, [1])
    assert share_budget([0.1], effort) == (5, [1])


def test_what_is_asked_for_is_done() -> None:
    assert share_budget([5.0, 1e-6], Effort(20, 4, 1, 0.1)) == (4, [20, 20])
    assert share_budget([1e-3], Effort(100, None, 1, 0.5)) == (5, [100])


def test_contestants_take_turns() -> None:
    calls: list[str] = []
    contestants = [lambda: calls.append("a"), lambda: calls.append("b")]
    effort = Effort(iterations=2, rounds=3, warmups=1, seconds=1e-9)
    timings = time_in_turns(contestants, MPI.COMM_SELF, effort)
    assert calls[-12:] == list("aabbbbaaaabb")
    assert [len(timing.seconds) for timing in timings] == [3, 3]
    assert all(seconds > 0 for timing in timings for seconds in timing.seconds)


def test_ratio_compares_rounds_with_each_other() -> None:
    # A machine that becomes ten times slower disturbs no ratio.
    mine = Timing((2.0, 20.0, 21.0, 2.2), 1)
    theirs = Timing((1.0, 10.0, 10.0, 1.0), 1)
    found = ratio(mine, theirs)
    assert found.median == pytest.approx(2.05)
    assert 2.0 <= found.low <= found.median <= found.high <= 2.2
