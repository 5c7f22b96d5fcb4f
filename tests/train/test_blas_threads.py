"""Ranks of a host share out its cores."""

from __future__ import annotations

import numpy as np
import pytest
from recorded import RecordedCommunicator
from threadpoolctl import threadpool_info, threadpool_limits

from pycoll.train import blas_threads, share_cores


@pytest.mark.parametrize(
    ("cores", "ranks", "expected"), [(8, 1, 8), (8, 2, 4), (8, 3, 2), (2, 8, 1)]
)
def test_each_rank_gets_its_share(
    monkeypatch: pytest.MonkeyPatch, cores: int, ranks: int, expected: int
) -> None:
    monkeypatch.setattr(blas_threads, "_usable_cores", lambda: cores)
    comm = RecordedCommunicator()
    comm.local_size = ranks
    assert np.dot(np.ones(2), np.ones(2)) == 2  # BLAS is loaded
    with threadpool_limits():  # puts the limits back afterwards
        assert share_cores(comm) == expected  # type: ignore[arg-type]
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        assert pools
        assert all(pool["num_threads"] <= expected for pool in pools)


def test_usable_cores_are_those_of_the_affinity_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas_threads.os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert blas_threads._usable_cores() == 2
    monkeypatch.delattr(blas_threads.os, "sched_getaffinity")
    monkeypatch.setattr(blas_threads.os, "cpu_count", lambda: None)
    assert blas_threads._usable_cores() == 1
