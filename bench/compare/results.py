"""Everything that was measured, as it is kept in a file."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .contestants import CONTESTANTS
from .job import Measured, measured_from


@dataclass(frozen=True)
class Run:
    """What one contestant measured at once. ``sizes`` belong to ``measured``, in bytes."""

    collective: str
    ranks: int
    contestant: str
    round: int
    sizes: tuple[int, ...]
    measured: tuple[Measured, ...]


@dataclass
class Results:
    """A comparison.

    Attributes
    ----------
    machine, command, date : str
    copy_bandwidths : list of float
        Bytes that all cores together copied in a second; measured once in a round.
    versions, left_out : dict
        By contestant: its library's version, or why it was not measured.
    problems : list of str
        Failed runs and wrong results.
    """

    command: str
    date: str
    machine: str
    copy_bandwidths: list[float] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    @property
    def copy_bandwidth(self) -> float:
        """Return the median, in bytes per second."""
        return statistics.median(self.copy_bandwidths)

    def note(self, problem: str) -> None:
        """Keep a problem; the same in several rounds is one."""
        if problem not in self.problems:
            self.problems.append(problem)

    def collectives(self) -> list[str]:
        """Return what was measured, in order."""
        return list(dict.fromkeys(run.collective for run in self.runs))

    def rank_counts(self, collective: str) -> list[int]:
        """Return the numbers of ranks that a collective was measured on."""
        return sorted({run.ranks for run in self.runs if run.collective == collective})

    def sizes(self, collective: str, ranks: int) -> list[int]:
        """Return the sizes that anybody was measured at, in bytes."""
        return sorted({size for run in self._of(collective, ranks) for size in run.sizes})

    def seconds(self, collective: str, ranks: int, contestant: str, size: int) -> float | None:
        """Return the time of a call: the median over rounds of the medians over batches.

        None when it was not measured, or gave a wrong result in any round.
        """
        rounds = [
            measured
            for run in self._of(collective, ranks)
            if run.contestant == contestant
            for of_size, measured in zip(run.sizes, run.measured, strict=True)
            if of_size == size
        ]
        if not rounds or any(measured.wrong for measured in rounds):
            return None
        return statistics.median(statistics.median(measured.seconds) for measured in rounds)

    def best_peer(self, collective: str, ranks: int, size: int) -> float | None:
        """Return the shortest time of those that pycoll is compared with, in seconds."""
        times = [
            seconds
            for name in self.versions
            if CONTESTANTS[name].is_peer
            and (seconds := self.seconds(collective, ranks, name, size)) is not None
        ]
        return min(times, default=None)

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @staticmethod
    def read(path: Path) -> Results:
        """Return what `write` wrote.

        Raises
        ------
        ValueError
            When it is something else.
        """
        try:
            fields: dict[str, Any] = json.loads(path.read_text())
            runs = [
                Run(
                    **{
                        **run,
                        "sizes": tuple(run["sizes"]),
                        "measured": tuple(measured_from(each) for each in run["measured"]),
                    }
                )
                for run in fields.pop("runs")
            ]
            return Results(**fields, runs=runs)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no results of a comparison: {error}") from None

    def _of(self, collective: str, ranks: int) -> list[Run]:
        return [run for run in self.runs if run.collective == collective and run.ranks == ranks]
