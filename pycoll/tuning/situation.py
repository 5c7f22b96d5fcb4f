"""How many ranks there are, and where: what messages and signals cost depends on it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class Situation:
    """How many ranks there are, and where.

    Attributes
    ----------
    nodes : list of int
        The number of each rank's node; empty where there is one only.
    cores_per_node : int
        0: one for each rank.

    Raises
    ------
    ValueError
        When these are no such numbers.
    """

    ranks: int
    nodes: list[int]
    cores_per_node: int

    def __post_init__(self) -> None:
        numbers = [self.ranks, self.cores_per_node]
        numbers += self.nodes if isinstance(self.nodes, list) else [-1]
        are_counts = all(type(number) is int and number >= 0 for number in numbers)
        if not are_counts or (self.nodes and len(self.nodes) != self.ranks):
            raise ValueError(
                f"there are no {self.ranks!r} ranks on nodes {self.nodes!r} "
                f"of {self.cores_per_node!r} cores"
            )

    @property
    def crowding(self) -> float:
        """Return how many ranks take turns on a core: at least 1."""
        busiest = max(Counter(self.nodes).values(), default=self.ranks)
        return max(busiest / (self.cores_per_node or busiest or 1), 1.0)

    def is_as_crowded(self, other: Situation) -> bool:
        """Return whether cores are shared in both or in neither, by up to twice as many ranks."""
        both = self.crowding, other.crowding
        return (min(both) > 1 or max(both) == 1) and max(both) <= 2 * min(both)

    def distance(self, other: Situation) -> tuple[float, bool, float]:
        """Return how much costs may differ between the two: first by how crowded cores are."""

        def apart(a: float, b: float) -> float:
            return abs(math.log2(max(a, 1) / max(b, 1)))

        return (
            apart(self.crowding, other.crowding),
            (len(set(self.nodes)) > 1) != (len(set(other.nodes)) > 1),
            apart(self.ranks, other.ranks),
        )
