"""Which elements of an array are there already."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


class Intervals:
    """A set of whole numbers from 0, kept as intervals that neither touch nor overlap."""

    def __init__(self) -> None:
        self._starts: Indices = np.zeros(0, dtype=np.int64)
        self._stops: Indices = np.zeros(0, dtype=np.int64)

    def add(self, starts: Indices, stops: Indices) -> None:
        """Put in the numbers from each start to before its stop."""
        starts = np.concatenate([self._starts, starts])
        stops = np.concatenate([self._stops, stops])
        order = np.argsort(starts, kind="stable")
        starts = starts[order]
        reached = np.maximum.accumulate(stops[order])
        if len(starts) == 0:
            return
        gap = starts[1:] > reached[:-1]
        self._starts = starts[np.concatenate([[True], gap])]
        self._stops = reached[np.concatenate([gap, [True]])]

    def contain(self, starts: Indices, stops: Indices) -> bool:
        """Return whether all numbers from each start to before its stop are in the set."""
        if len(starts) == 0:
            return True
        if len(self._starts) == 0:
            return False
        at = np.searchsorted(self._starts, starts, side="right") - 1
        return bool((at >= 0).all() and (stops <= self._stops[at]).all())

    def cover(self, size: int) -> bool:
        """Return whether all numbers below ``size`` are in the set."""
        return size == 0 or self.contain(np.array([0]), np.array([size]))
