"""How long a call takes: the same protocol for every library, with its own barrier."""

from __future__ import annotations

import gc
import itertools
import time

import numpy as np

from .libraries import Call, Library

#: Their median counts: two may meet a disturbance.
BATCHES = 5
#: Beyond, a mean gets no better.
MOST_CALLS = 10_000
#: Before anything is timed: connections, plans and first touches of memory.
WARMUPS = 2


def time_batches(library: Library, call: Call, seconds: float) -> tuple[float, ...]:
    """Return the seconds of one call in each batch, on the slowest rank. Collective.

    A batch starts with a barrier, which is not timed. All ranks make the same number of calls.
    """
    for _ in range(WARMUPS):
        call()
    collecting = gc.isenabled()
    gc.disable()  # a collection in the midst of a batch would count as communication
    try:
        share = seconds / BATCHES
        calls = max(1, min(MOST_CALLS, int(share / _estimate(library, call, share))))
        taken = [_batch(library, call, calls) / calls for _ in range(BATCHES)]
    finally:
        if collecting:
            gc.enable()
    slowest: list[float] = library.maximum(np.array(taken)).tolist()
    return tuple(slowest)


def _batch(library: Library, call: Call, calls: int) -> float:
    library.barrier()
    begin = time.perf_counter()
    for _ in itertools.repeat(None, calls):
        call()
    return time.perf_counter() - begin


def _estimate(library: Library, call: Call, share: float) -> float:
    """Return roughly how long a call takes, the same on all ranks."""
    calls = 1
    while True:
        taken = float(library.maximum(np.array([_batch(library, call, calls)]))[0])
        # A quarter of a batch: enough to know the number of calls within what the scheduler adds.
        if taken > share / 4 or calls >= MOST_CALLS:
            # A clock that did not move at all must not lead to infinitely many calls.
            return max(taken, 1e-9) / calls
        calls = min(MOST_CALLS, calls * 4)
