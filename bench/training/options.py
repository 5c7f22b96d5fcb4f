"""The command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .modes import MODES, PEER


class OptionError(Exception):
    """A command line that makes no sense; the text says what to change."""


@dataclass(frozen=True)
class Options:
    """What to compare, and how.

    Attributes
    ----------
    steps, rounds : int
        Timed steps of a run, and runs of each.
    peer : Path or None
        An interpreter that has PyTorch and mpi4py; None leaves the peer out.
    """

    ranks: tuple[int, ...]
    modes: tuple[str, ...]
    steps: int
    rounds: int
    batch_size: int
    width: int
    layers: int
    context: int
    peer: Path | None
    out: Path


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise OptionError(message)


def parse_options(arguments: Sequence[str], default_out: Path) -> Options:
    """Return the options of a command line.

    Raises
    ------
    OptionError
        When one is wrong.
    """
    parser = _Parser(
        prog="python -m bench.training",
        description="Train a GPT with pycoll in several ways, and with PyTorch's "
        "DistributedDataParallel over Gloo: the same model from the same first values, the same "
        "batches, the same optimizer. Gives tokens per second.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--ranks", default="1,2,4,8", metavar="N,...", help="numbers of ranks (1,2,4,8)")
    names = ", ".join(MODES)
    add("--modes", default=",".join(MODES), metavar="NAMES", help=f"with commas, of {names} (all)")
    add("--steps", type=int, default=20, metavar="N", help="timed steps of a run (20)")
    add("--rounds", type=int, default=3, metavar="N", help="runs of each, in turns (3)")
    add("--batch-size", type=int, default=32, metavar="N", help="sequences over all ranks (32)")
    add("--width", type=int, default=128, metavar="N", help="of the model (128)")
    add("--layers", type=int, default=2, metavar="N", help="of the model (2)")
    add("--context", type=int, default=64, metavar="N", help="tokens per sequence (64)")
    add(
        "--peer",
        type=Path,
        metavar="PATH",
        help=f"interpreter with PyTorch and the same MPI's mpi4py, for {PEER}; else it is left out",
    )
    add("--out", type=Path, default=default_out, metavar="DIR", help=f"({default_out})")
    given = parser.parse_args(arguments)
    modes = tuple(dict.fromkeys(given.modes.split(",")))
    for name in modes:
        if name not in MODES:
            raise OptionError(f"unknown mode {name!r}; choose from {names}")
    if not all(text.strip().isdecimal() and int(text) > 0 for text in given.ranks.split(",")):
        raise OptionError(f"--ranks: {given.ranks!r} is not a list of whole numbers from 1")
    for name in ("steps", "rounds", "batch_size", "width", "layers", "context"):
        if getattr(given, name) < 1:
            raise OptionError(f"--{name.replace('_', '-')} must be at least 1")
    if given.peer is not None and not given.peer.is_file():
        raise OptionError(f"--peer: there is no interpreter {given.peer}")
    return Options(
        ranks=tuple(int(text) for text in given.ranks.split(",")),
        modes=modes,
        steps=given.steps,
        rounds=given.rounds,
        batch_size=given.batch_size,
        width=given.width,
        layers=given.layers,
        context=given.context,
        peer=None if given.peer is None else given.peer.absolute(),
        out=given.out,
    )
