"""The command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pycoll.bench.sizes import size_range
from pycoll.planning.quantities import parse_size

from .contestants import CONTESTANTS
from .launching import ROOT

COLLECTIVES = (
    "all_reduce",
    "broadcast",
    "reduce",
    "reduce_scatter",
    "all_gather",
    "all_to_all",
    "barrier",
)
ENVIRONMENTS = ROOT / "build" / "compare"


class OptionError(Exception):
    """A command line that makes no sense; the text says what to change."""


@dataclass(frozen=True)
class Options:
    """What to compare, and how.

    Attributes
    ----------
    sizes : tuple of int
        Bytes.
    seconds : float
        Time for each size in each run.
    pythons : dict
        Interpreters, by contestant, that are used instead of new environments.
    environments : Path
        Where new environments are made.
    again : Path or None
        The results of an earlier comparison, to be tabulated and drawn again.
    """

    collectives: tuple[str, ...]
    sizes: tuple[int, ...]
    ranks: tuple[int, ...]
    contestants: tuple[str, ...]
    rounds: int
    seconds: float
    pythons: dict[str, Path]
    environments: Path
    out: Path
    again: Path | None

    @property
    def results(self) -> Path:
        """Return the file that everything measured is written to."""
        return self.out / "results.json"


def parse_options(arguments: Sequence[str]) -> Options:
    """Return the options of a command line.

    Raises
    ------
    OptionError
        When one is wrong, or they contradict each other.
    """
    given = _parser().parse_args(arguments)
    try:
        first, last = parse_size(given.minbytes), parse_size(given.maxbytes)
        sizes = size_range(first, last, None, _whole(given.stepfactor, "-f", least=2))
    except ValueError as error:
        raise OptionError(str(error)) from None
    if not 0 < given.seconds < float("inf"):
        raise OptionError(f"--seconds is {given.seconds}; it must be above 0")
    return Options(
        collectives=_names(given.collectives, COLLECTIVES, "collective"),
        sizes=sizes,
        ranks=tuple(dict.fromkeys(_whole(text, "--ranks") for text in given.ranks.split(","))),
        contestants=_names(given.contestants, tuple(CONTESTANTS), "contestant"),
        rounds=_whole(given.rounds, "--rounds"),
        seconds=given.seconds,
        pythons=dict(_interpreter(text) for text in given.python),
        environments=given.environments,
        out=given.out or (given.again.parent if given.again else ENVIRONMENTS / "results"),
        again=given.again,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise OptionError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m bench.compare",
        description="Compare pycoll with MPI libraries and Gloo on this machine. Each has an "
        "environment of its own, made by the first run; pycoll is measured in the environment that "
        "this is started from. Sizes are those of nccl-tests; float32, sums, root 0.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-b", "--minbytes", default="8", metavar="BYTES", help="first size (8)")
    add("-e", "--maxbytes", default="64M", metavar="BYTES", help="last size (64M)")
    add("-f", "--stepfactor", default="2", metavar="N", help="from one size to the next (2)")
    add(
        "--collectives",
        default="all_reduce",
        metavar="NAMES",
        help=f"with commas, of {', '.join(COLLECTIVES)}; or all (all_reduce)",
    )
    add("--ranks", default="2,4,8", metavar="N,...", help="numbers of ranks (2,4,8)")
    add(
        "--contestants",
        default="all",
        metavar="NAMES",
        help=f"with commas, of {', '.join(CONTESTANTS)} (all)",
    )
    add("--rounds", default="3", metavar="N", help="runs of each, in turns; medians count (3)")
    add("--seconds", type=float, default=0.2, metavar="S", help="for a size in a run (0.2)")
    add(
        "--python",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="interpreter to use for a contestant instead of a new environment; may be repeated",
    )
    add("--environments", type=Path, default=ENVIRONMENTS, metavar="DIR", help=f"({ENVIRONMENTS})")
    add("--out", type=Path, metavar="DIR", help=f"for what is written ({ENVIRONMENTS}/results)")
    add("--again", type=Path, metavar="FILE", help="tabulate and draw a results.json again")
    return parser


def _whole(text: str, option: str, least: int = 1) -> int:
    if not text.strip().isdecimal() or int(text) < least:
        raise OptionError(f"{option}: {text!r} is not a whole number from {least}")
    return int(text)


def _names(text: str, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    if text == "all":
        return known
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in known:
            raise OptionError(f"unknown {what} {name!r}; choose from {', '.join(known)}, or all")
    return names


def _interpreter(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if not separator or name not in CONTESTANTS:
        raise OptionError(
            f"--python: {text!r} is not NAME=PATH with a NAME of {', '.join(CONTESTANTS)}"
        )
    # Not resolved: the interpreter of a virtual environment is a link to another's.
    interpreter = Path(path).absolute()
    if not interpreter.is_file():
        raise OptionError(f"--python: there is no interpreter {path}")
    return name, interpreter
