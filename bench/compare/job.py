"""What one run is told to measure, and what it tells of it.

The ranks of a run have their library and NumPy, and nothing else: the modules that they load
(`worker` and those below it) import neither pycoll nor anything that needs it, except the library
that is pycoll.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """One collective, on the ranks of one run, at several sizes.

    Attributes
    ----------
    library : str
        A name in `libraries.NAMES`.
    memory : str
        As of `contestants.Contestant`.
    counts : tuple of int
        float32 elements: of the vector, or of each rank's block where there are blocks; 0 for the
        barrier.
    seconds : float
        Time for each size.
    results : str
        The file that rank 0 writes, anew after each size: what was measured before a failure is
        kept.
    """

    library: str
    memory: str
    ranks: int
    collective: str
    counts: tuple[int, ...]
    seconds: float
    results: str

    def to_text(self) -> str:
        """Return it as a command-line argument."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_text(text: str) -> Job:
        """Return what `to_text` was made from."""
        fields: dict[str, Any] = json.loads(text)
        return Job(**{**fields, "counts": tuple(fields["counts"])})


@dataclass(frozen=True)
class Measured:
    """One size in one run.

    Attributes
    ----------
    wrong : int
        Wrong elements on the rank that has most of them, before or after the timing.
    seconds : tuple of float
        For each batch: of one call, on the slowest rank. None where the first result was wrong.
    """

    count: int
    wrong: int
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Report:
    """What a run wrote: the library's own name and version, and what was measured."""

    version: str
    measured: tuple[Measured, ...]

    def write(self, path: Path) -> None:
        """Write it to a file; a reader never sees half of it."""
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(asdict(self)))
        unfinished.replace(path)

    @staticmethod
    def read(path: Path) -> Report:
        """Return what `write` wrote."""
        fields: dict[str, Any] = json.loads(path.read_text())
        return Report(fields["version"], tuple(measured_from(m) for m in fields["measured"]))


def measured_from(fields: dict[str, Any]) -> Measured:
    """Return the measurement that JSON holds."""
    return Measured(fields["count"], fields["wrong"], tuple(fields["seconds"]))
