"""The file that keeps what was measured on a machine."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from socket import gethostname
from typing import Any, TypeVar

from pycoll import _core
from pycoll.cost import Costs, costs_from

#: A path in place of the usual one, or "off".
SWITCH = "PYCOLL_TUNING"
FORMAT = "pycoll tuning 3"

S = TypeVar("S", bound="Situation")


@dataclass(frozen=True)
class Situation:
    """How many ranks there are, and where.

    Attributes
    ----------
    nodes : list of int
        The number of each rank's node; empty where there is one only.
    cores_per_node : int
        0: one for each rank.
    """

    ranks: int
    nodes: list[int]
    cores_per_node: int

    @property
    def crowding(self) -> float:
        """Return how many ranks take turns on a core: at least 1."""
        busiest = max(map(self.nodes.count, self.nodes), default=self.ranks)
        return max(busiest / (self.cores_per_node or busiest or 1), 1.0)

    def distance(self, other: Situation) -> tuple[float, bool, float]:
        """Return how much costs may differ between the two: first by how crowded cores are."""

        def apart(a: float, b: float) -> float:
            return abs(math.log2(max(a, 1) / max(b, 1)))

        return (
            apart(self.crowding, other.crowding),
            bool(self.nodes) != bool(other.nodes),
            apart(self.ranks, other.ranks),
        )


@dataclass(frozen=True)
class MeasuredCosts(Situation):
    """What was measured with some ranks: some of `Costs`, by name."""

    costs: dict[str, float]


@dataclass(frozen=True)
class Measured(Situation):
    """How long a call took with one algorithm.

    Attributes
    ----------
    count : int
        Elements of the whole vector, or of one rank's block.
    memory : str
        Of the arrays: "plain" or "registered".
    chunk_bytes : int
        0 where messages are not cut.
    """

    collective: str
    dtype: str
    count: int
    memory: str
    algorithm: str
    chunk_bytes: int
    seconds: float


@dataclass(frozen=True)
class Tuning:
    """What is known of a machine.

    Attributes
    ----------
    machine : dict
        Where and when it was measured, in words: versions, date, processor.
    costs : list of MeasuredCosts
    measured : list of Measured
    """

    machine: dict[str, Any] = field(default_factory=dict)
    costs: list[MeasuredCosts] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)

    def updated(self, newer: Tuning) -> Tuning:
        """Return this with what is newer in place of what is of the same kind here."""

        def kept(known: Sequence[S], again: Sequence[S]) -> list[S]:
            found = [one for one in known if not any(_are_alike(one, other) for other in again)]
            return [*found, *again]

        costs, measured = kept(self.costs, newer.costs), kept(self.measured, newer.measured)
        return Tuning(newer.machine, costs, measured)

    def costs_for(self, situation: Situation) -> Costs:
        """Return the costs of the situation that is nearest.

        What was not measured there is as in the next one, and at last as without measurement.
        """
        known = sorted(self.costs, key=situation.distance, reverse=True)
        return costs_from({name: cost for one in known for name, cost in one.costs.items()})


def _are_alike(one: Situation, other: Situation) -> bool:
    return not any(one.distance(other)) and one.nodes == other.nodes


def family() -> str:
    """Return which family of MPI libraries runs this process: what they cost differs."""
    return str(_core.built_against).split()[0].lower()


def usual_path() -> Path:
    """Return where the file of this machine and MPI lies unless PYCOLL_TUNING says otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    host = re.sub(r"[^\w.-]", "_", gethostname()) or "machine"
    return Path(cache) / "pycoll" / f"{host}-{family()}.json"


def path_in_use() -> Path | None:
    """Return where the file lies; None when PYCOLL_TUNING is off."""
    wanted = os.environ.get(SWITCH, "")
    if wanted.lower() == "off":
        return None
    return Path(wanted).expanduser() if wanted else usual_path()


def read(path: Path) -> Tuning:
    """Return what a file says.

    Raises
    ------
    OSError
        When it cannot be read.
    ValueError
        When it is no such file, or was measured under another MPI.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    if found.get("family") != family():
        raise ValueError(f"it was measured under {found.get('family')}, and this is {family()}")
    try:
        costs = [MeasuredCosts(**one) for one in found.get("costs", [])]
        measured = [Measured(**one) for one in found.get("measured", [])]
    except TypeError as error:
        raise ValueError(f"its measurements are incomplete: {error}") from None
    for one in costs:
        costs_from(one.costs)
    machine = found.get("machine")
    return Tuning(machine if isinstance(machine, dict) else {}, costs, measured)


def load() -> Tuning | None:
    """Return what is known of this machine; None when nothing is, or PYCOLL_TUNING is off.

    Warns
    -----
    UserWarning
        When there is a file that cannot be used, or none where PYCOLL_TUNING points.
    """
    path = path_in_use()
    if path is None or (SWITCH not in os.environ and not path.exists()):
        return None
    try:
        return read(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        warnings.warn(
            f"tuning file {path} is not used: {why}; 'mpirun -n N python -m pycoll tune' makes one",
            stacklevel=2,
        )
        return None


def load_costs(situation: Situation) -> Costs:
    """Return the costs of this machine for so many ranks: measured, or else assumed."""
    found = load()
    return Costs() if found is None else found.costs_for(situation)


def write(path: Path, tuning: Tuning) -> None:
    """Write a file; whoever reads it meanwhile gets the old one or the new one.

    Raises
    ------
    OSError
    """
    content = {
        "format": FORMAT,
        "family": family(),
        "machine": tuning.machine,
        "costs": [asdict(one) for one in tuning.costs],
        "measured": [asdict(one) for one in tuning.measured],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
