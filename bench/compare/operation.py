"""One collective with its operands on one rank, and what its result must be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .libraries import Array, Call, Library
from .values import contribution, count_wrong, fill, total

ON_VECTORS = ("all_reduce", "reduce", "broadcast")


class Operation:
    """A call of a library that can be made again and again, and checked.

    Parameters
    ----------
    count : int
        As in `Job`.

    Attributes
    ----------
    call : callable
        What is timed.
    """

    def __init__(self, library: Library, collective: str, count: int) -> None:
        self._rank, self._size = library.rank, library.size
        self._collective, self._count = collective, count
        self._sent: Array | None = None
        self._received: Array | None = None
        if collective == "barrier":
            self.call: Call = library.barrier
            return
        bound: Callable[..., Call] = getattr(library, collective)
        if collective in ON_VECTORS:
            self._sent = self._received = library.empty(count)
            self.call = bound(self._sent)
            return
        every = count * library.size
        self._sent = library.empty(count if collective == "all_gather" else every)
        self._received = library.empty(count if collective == "reduce_scatter" else every)
        self.call = bound(self._sent, self._received)

    def fill(self) -> None:
        """Write this rank's contribution, and what is no result where the result comes."""
        if self._received is not None:
            self._received.fill(np.nan)
        if self._sent is not None and not (self._collective == "broadcast" and self._rank > 0):
            fill(self._sent, contribution(self._rank))

    def clear(self) -> None:
        """Write zeros: sums of sums would grow beyond all bounds when a call is repeated."""
        if self._sent is not None:
            self._sent.fill(0)

    def count_wrong(self) -> int:
        """Return how many elements are wrong on this rank after one call on new input."""
        result, rank, count = self._received, self._rank, self._count
        if result is None:
            return 0
        match self._collective:
            case "all_reduce":
                return count_wrong(result, total(self._size))
            case "reduce":
                return count_wrong(result, total(self._size)) if rank == 0 else 0
            case "broadcast":
                return count_wrong(result, contribution(0))
            case "reduce_scatter":
                return count_wrong(result, total(self._size), rank * count)
        start = rank * count if self._collective == "all_to_all" else 0
        blocks = result.reshape(self._size, count)
        return sum(
            count_wrong(block, contribution(source), start) for source, block in enumerate(blocks)
        )
