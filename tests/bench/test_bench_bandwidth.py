"""Bandwidths against numbers worked out by hand from nccl-tests' doc/PERFORMANCE.md."""

from __future__ import annotations

import pytest

from pycoll.bench.bandwidth import algorithm_bandwidth, bus_bandwidth

# 1 GB (10^9 bytes) in half a second: algbw is 2 GB/s.
SIZE = 1_000_000_000
SECONDS = 0.5


def test_algorithm_bandwidth_is_size_over_time() -> None:
    assert algorithm_bandwidth(SIZE, SECONDS) == pytest.approx(2.0)
    assert algorithm_bandwidth(0, SECONDS) == 0


@pytest.mark.parametrize(
    ("collective", "ranks", "expected"),
    [
        ("all_reduce", 4, 2.0 * 2 * 3 / 4),
        ("all_reduce", 8, 3.5),
        ("all_reduce", 1, 0.0),
        ("reduce_scatter", 4, 1.5),
        ("all_gather", 4, 1.5),
        ("gather", 4, 1.5),
        ("scatter", 4, 1.5),
        ("all_to_all", 8, 1.75),
        ("reduce", 4, 2.0),
        ("broadcast", 8, 2.0),
        ("send_recv", 8, 2.0),
    ],
)
def test_bus_bandwidth(collective: str, ranks: int, expected: float) -> None:
    assert bus_bandwidth(collective, SIZE, SECONDS, ranks) == pytest.approx(expected)
