"""How fast this machine copies memory: the limit of everything that goes through it."""

from __future__ import annotations

import os
import threading
import time

import numpy as np

#: Larger than the caches of most machines, and the largest size that is compared by default.
COPIED_BYTES = 64 << 20
COPIES = 5


def usable_cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux has it
        return os.cpu_count() or 1


def copy_bandwidth() -> float:
    """Return the bytes that all cores together copy in a second, each in arrays of its own."""
    cores = usable_cores()
    together = threading.Barrier(cores + 1)

    def copy() -> None:
        # Written to, so that every page is there.
        source, target = (np.full(COPIED_BYTES, value, np.uint8) for value in (1, 2))
        together.wait()
        for _ in range(COPIES):
            np.copyto(target, source)  # NumPy lets other threads run meanwhile
        together.wait()

    threads = [threading.Thread(target=copy) for _ in range(cores)]
    for thread in threads:
        thread.start()
    together.wait()
    begin = time.perf_counter()
    together.wait()
    taken = time.perf_counter() - begin
    for thread in threads:
        thread.join()
    return cores * COPIES * COPIED_BYTES / taken


def least_seconds(size: int, ranks: int, bandwidth: float) -> float:
    """Return the time of an all_reduce that does no more than it must.

    Every rank reads an array of ``size`` bytes and writes one: together that is copying
    ``ranks * size`` bytes.
    """
    return ranks * size / bandwidth
