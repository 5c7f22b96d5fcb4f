"""Bandwidths as nccl-tests defines them.

https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md, "Bandwidth".
"""

from __future__ import annotations

from pycoll.planning.bandwidth import bus_factor


def algorithm_bandwidth(size: int, seconds: float) -> float:
    """Return algbw in GB/s (of 10^9 bytes): the size over the time."""
    return size / seconds / 1e9


def bus_bandwidth(collective: str, size: int, seconds: float, ranks: int) -> float:
    """Return busbw in GB/s: what a rank must send at least, over the time."""
    return algorithm_bandwidth(size, seconds) * bus_factor(collective, ranks)
