"""The file that keeps what was measured on a machine."""

from __future__ import annotations

import contextlib
import json
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
from pycoll.tuning.situation import Situation

#: A path in place of the usual one, or "off".
SWITCH = "PYCOLL_TUNING"
FORMAT = "pycoll tuning 3"

#: Costs that are others where other numbers of ranks share a core.
BY_CROWDING = ("intra_alpha", "intra_beta", "wake")

S = TypeVar("S", bound=Situation)


@dataclass(frozen=True)
class MeasuredCosts(Situation):
    """What was measured with some ranks.

    Attributes
    ----------
    costs : dict
        Some of `Costs`, by name.
    assumed : list of str
        Those of them in place of which auto chooses better with what is assumed else.
    """

    costs: dict[str, float]
    assumed: list[str] = field(default_factory=list)


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

        def key(one: Situation) -> tuple[int, tuple[int, ...], int]:
            return one.ranks, tuple(one.nodes), one.cores_per_node

        def kept(known: Sequence[S], again: Sequence[S]) -> list[S]:
            replaced = set(map(key, again))
            return [*(one for one in known if key(one) not in replaced), *again]

        costs, measured = kept(self.costs, newer.costs), kept(self.measured, newer.measured)
        return Tuning(newer.machine, costs, measured)

    def costs_for(self, situation: Situation) -> Costs:
        """Return the costs of the situation that is nearest.

        What was not measured there is as in the next one, and at last as without measurement; so
        is what depends on how crowded the cores are, where that is not alike.
        """
        found: dict[str, float] = {}
        for one in sorted(self.costs, key=situation.distance, reverse=True):
            left_out = () if situation.is_as_crowded(one) else BY_CROWDING
            found |= {name: cost for name, cost in one.costs.items() if name not in left_out}
            for name in one.assumed:
                found.pop(name, None)
        return costs_from(found)


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
        for one in costs:
            costs_from(one.costs)
            costs_from(dict.fromkeys(one.assumed, 0))
    except TypeError as error:
        raise ValueError(f"its measurements are incomplete: {error}") from None
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
