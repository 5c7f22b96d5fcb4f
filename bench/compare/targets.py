"""How much faster than the best peer pycoll is to be on one machine, and whether it was."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from pycoll.planning.quantities import format_bytes

from .contestants import CONTESTANTS
from .results import Results

KIB, MIB = 1 << 10, 1 << 20
OURS = tuple(name for name, contestant in CONTESTANTS.items() if not contestant.is_peer)


@dataclass(frozen=True)
class Target:
    """What the best peer's time over pycoll's should be, in a range of sizes.

    Attributes
    ----------
    contestants : tuple of str
        The ways of using pycoll that it holds for.
    sizes : tuple
        The first and the last, in bytes.
    ratio : float
        For the median over sizes.
    floor : float
        For every single size.
    ranks : tuple of int
        Empty for all.
    """

    contestants: tuple[str, ...]
    sizes: tuple[int, int]
    ratio: float
    floor: float
    ranks: tuple[int, ...] = ()


ALL_REDUCE = (
    Target(OURS, (8, 4 * KIB), 1.0, 1.0, ranks=(2,)),
    Target(OURS, (8, 32 * KIB), 2.0, 2.0, ranks=(4, 8)),
    Target(("registered",), (256 * KIB, 64 * MIB), 3.0, 2.5),
    Target(("pycoll", "private"), (256 * KIB, 64 * MIB), 1.5, 1.5),
)
OTHERS = (
    Target(OURS, (0, 256 * KIB - 1), 1.0, 1.0),
    Target(OURS, (256 * KIB, 64 * MIB), 1.5, 1.5),
)


@dataclass(frozen=True)
class Verdict:
    """What came of a target. ``ratios`` are by size, in bytes; at least one."""

    collective: str
    ranks: int
    contestant: str
    target: Target
    ratios: dict[int, float]

    @property
    def median(self) -> float:
        """Return the median over sizes."""
        return statistics.median(self.ratios.values())

    @property
    def worst(self) -> int:
        """Return the size with the least ratio."""
        return min(self.ratios, key=self.ratios.__getitem__)

    @property
    def met(self) -> bool:
        """Whether all is as it should be."""
        return self.median >= self.target.ratio and self.ratios[self.worst] >= self.target.floor


def verdicts(results: Results) -> Iterator[Verdict]:
    """Return what came of each target that anything was measured for."""
    for collective in results.collectives():
        for ranks in results.rank_counts(collective):
            for target in ALL_REDUCE if collective == "all_reduce" else OTHERS:
                if target.ranks and ranks not in target.ranks:
                    continue
                for contestant in target.contestants:
                    ratios = _ratios(results, collective, ranks, contestant, target.sizes)
                    if ratios:
                        yield Verdict(collective, ranks, contestant, target, ratios)


def tabulate_targets(results: Results) -> list[str]:
    """Return the lines of a Markdown table; none when there is nothing to compare."""
    rows = [
        f"| {verdict.collective} | {verdict.ranks} | {CONTESTANTS[verdict.contestant].label} "
        f"| {_range(verdict)} | {verdict.target.ratio:g} | {verdict.median:.2f} "
        f"| {verdict.ratios[verdict.worst]:.2f}{_at(verdict)} "
        f"| {'yes' if verdict.met else '**no**'} |"
        for verdict in verdicts(results)
    ]
    if not rows:
        return []
    header = "| collective | ranks | buffers | sizes | target | median | least | met |"
    return [header, "|---|---:|---|---|---:|---:|---:|---|", *rows]


def _ratios(
    results: Results, collective: str, ranks: int, contestant: str, sizes: tuple[int, int]
) -> dict[int, float]:
    ratios = {}
    for size in results.sizes(collective, ranks):
        own = results.seconds(collective, ranks, contestant, size)
        best = results.best_peer(collective, ranks, size)
        if sizes[0] <= size <= sizes[1] and own is not None and best is not None:
            ratios[size] = best / own
    return ratios


def _range(verdict: Verdict) -> str:
    if verdict.collective == "barrier":
        return "-"
    return f"{format_bytes(min(verdict.ratios))} .. {format_bytes(max(verdict.ratios))}"


def _at(verdict: Verdict) -> str:
    return "" if verdict.collective == "barrier" else f" at {format_bytes(verdict.worst)}"
