"""Pieces of data: which row and colour of a picture stand for what."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from pycoll.planning.bandwidth import BLOCKWISE
from pycoll.planning.picture.memory import Run
from pycoll.planning.plans import Plan


@dataclass(frozen=True)
class Piece:
    """Some elements as they are drawn.

    Attributes
    ----------
    row : int
        Where in a rank's lane.
    hue : int
        Number of its colour.
    share : float
        How complete it is: contributions in it over those that the result has.
    name : str
        For labels.
    origins : frozenset of int
        Whose contributions are in it.
    """

    row: int
    hue: int
    share: float
    name: str
    origins: frozenset[int]


class Pieces:
    """Cuts runs into pieces that are never taken apart.

    The vector, or each block alike, is cut wherever one of the given runs starts or ends.

    Attributes
    ----------
    rows, hues : int
        How many there are.
    """

    def __init__(self, plan: Plan, runs: Iterable[Run]) -> None:
        self.collective = plan.collective
        self.folds = plan.collective in ("all_reduce", "reduce", "reduce_scatter")
        self._ranks = plan.ranks
        self._by_rank = plan.collective in BLOCKWISE or plan.collective == "barrier"
        # Of the vector, or of a block; runs may span several blocks.
        self._length = 1 if plan.collective == "barrier" else plan.count
        ends = {end % self._length for run in runs for end in (run.index, run.index + run.count)}
        self._cuts = sorted(ends)
        self.rows = len(self._cuts) * (plan.ranks if self._by_rank else 1)
        self.hues = plan.ranks if self._by_rank else self.rows

    def cut(self, runs: Iterable[Run]) -> list[Piece]:
        """Return the pieces of some runs."""
        pieces = []
        for run in runs:
            index, end = run.index, run.index + run.count
            while index < end:
                block, within = divmod(index, self._length)
                part = bisect_left(self._cuts, within)
                pieces.append(self._piece(run.origins, block, part))
                following = [*self._cuts, self._length][part + 1]
                index = block * self._length + following
        return pieces

    def _piece(self, origins: frozenset[int], block: int, part: int) -> Piece:
        share = len(origins) / self._ranks if self.folds else 1.0
        if not self._by_rank:
            name = str(part) if self.rows > 1 else "whole"
            return Piece(part, part, share, name, origins)
        parts = len(self._cuts)
        origin = min(origins)
        if self.collective == "all_to_all":
            # At any time a rank holds one block for each distance between origin and target.
            row = (block - origin) % self._ranks * parts + part
            return Piece(row, block, share, f"{origin}→{block}", origins)
        if self.collective in ("all_gather", "gather", "barrier"):
            block = origin
        return Piece(block * parts + part, block, share, str(block), origins)
