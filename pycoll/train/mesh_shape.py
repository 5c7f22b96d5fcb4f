"""How ranks are laid out along the three axes of parallel training: a value, no communication.

Source: Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters Using
Megatron-LM" (2021), section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Coordinates(NamedTuple):
    """Where a rank stands in a mesh: its number along each axis, from 0."""

    dp: int
    tp: int
    pp: int


@dataclass(frozen=True)
class MeshShape:
    """How many ranks lie along each axis.

    Ranks are numbered along tp first, then dp, then pp: those that talk most are neighbours, and
    share a node where nodes hold consecutive ranks.

    Attributes
    ----------
    dp, tp, pp : int
        For data, tensor and pipeline parallelism; at least 1.
    """

    dp: int = 1
    tp: int = 1
    pp: int = 1

    def __post_init__(self) -> None:
        for axis in ("dp", "tp", "pp"):
            if getattr(self, axis) < 1:
                raise ValueError(f"{axis} must be at least 1, not {getattr(self, axis)}")

    @property
    def ranks(self) -> int:
        """Number of ranks in the mesh."""
        return self.dp * self.tp * self.pp

    def rank(self, at: Coordinates) -> int:
        """Return the rank at some coordinates."""
        return (at.pp * self.dp + at.dp) * self.tp + at.tp

    def coordinates(self, rank: int) -> Coordinates:
        """Return where a rank stands."""
        rest, tp = divmod(rank, self.tp)
        pp, dp = divmod(rest, self.dp)
        return Coordinates(dp, tp, pp)

    def require_ranks(self, ranks: int) -> None:
        """Check that the mesh has so many ranks.

        Raises
        ------
        ValueError
            With the shapes that would have.
        """
        if self.ranks == ranks:
            return
        fitting = ", ".join(f"{s.dp} x {s.tp} x {s.pp}" for s in _nearest(self, ranks))
        raise ValueError(
            f"dp {self.dp} x tp {self.tp} x pp {self.pp} makes {self.ranks} rank(s), but there are "
            f"{ranks}; choose dp x tp x pp from {fitting}"
        )

    def __str__(self) -> str:
        """Return a table of the ranks: a row per dp, a column per tp, a block per pp."""
        width = max(len(str(self.ranks - 1)), len(f"tp {self.tp - 1}")) + 2
        rows = [" " * 6, " " * 6]
        rows += [f"dp {dp}".ljust(6) for dp in range(self.dp)]
        for pp in range(self.pp):
            rows[0] += "  " + f"pp {pp}".rjust(width).ljust(width * self.tp)
            rows[1] += "  " + "".join(f"tp {tp}".rjust(width) for tp in range(self.tp))
            for dp in range(self.dp):
                ranks = [self.rank(Coordinates(dp, tp, pp)) for tp in range(self.tp)]
                rows[2 + dp] += "  " + "".join(str(rank).rjust(width) for rank in ranks)
        return "\n".join(row.rstrip() for row in rows)


# Of 64 ranks there are 28 shapes: more than a reader of an error wants to see.
_SHOWN = 8


def _nearest(wanted: MeshShape, ranks: int) -> list[MeshShape]:
    """Return some shapes of so many ranks, those that keep most of the wanted sizes first."""

    def changes(shape: MeshShape) -> tuple[int, int, int, int]:
        # tp and pp must fit the model: dp is what one changes first.
        other = (shape.tp != wanted.tp, shape.pp != wanted.pp, shape.dp != wanted.dp)
        return sum(other), *other

    return sorted(_factorisations(ranks), key=changes)[:_SHOWN]


def _factorisations(ranks: int) -> Iterator[MeshShape]:
    for pp in _divisors(ranks):
        for tp in _divisors(ranks // pp):
            yield MeshShape(ranks // pp // tp, tp, pp)


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
