"""The command line: the options of nccl-tests, and a few of our own."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from pycoll import _core
from pycoll.bench.option_error import OptionError
from pycoll.bench.sizes import size_range
from pycoll.planning.quantities import parse_size

#: What can be measured: the collectives, and every rank sending to the next.
COLLECTIVES = (*_core.COLLECTIVES, "send_recv")
REDUCING = ("all_reduce", "reduce", "reduce_scatter")
ROOTED = ("reduce", "broadcast", "gather", "scatter")
#: Whose calls take ``algorithm=``, and ``chunk_bytes=``.
WITH_ALGORITHM = tuple(name for name in COLLECTIVES if name not in ("barrier", "send_recv"))
WITH_CHUNK = ("all_reduce", "reduce", "broadcast", "reduce_scatter", "all_gather")
ONLY_IN_PLACE = ("broadcast",)
ONLY_OUT_OF_PLACE = ("all_to_all", "send_recv", "barrier")

#: nccl-tests' names of types, beside NumPy's own.
TYPE_NAMES = {"float": "float32", "double": "float64", "half": "float16", "int": "int32"}


@dataclass(frozen=True)
class Options:
    """What to measure, and how. All ranks have the same.

    Attributes
    ----------
    ops, roots : tuple
        One None where the collective does not fold, or has no root.
    placements : tuple of bool
        Whether to measure in place; two entries for both.
    memories : tuple of str
        "plain", "registered", or both.
    chunks : tuple of int
        Bytes; 0 leaves the length to pycoll.
    iterations, rounds : int or None
        None: as many as fit into ``seconds``.
    seconds : float
        Time for one size and placement, over all contestants.
    against : {"mpi", "nccl"} or None
        Who takes turns with pycoll.
    device : {"cpu", "cuda"}
        Where the arrays lie.
    library : {"auto", "cupy", "torch"}
        Whose arrays they are, on a GPU.
    measures : bool
        False in tests only, which may run on a simulated GPU.
    """

    collective: str
    sizes: tuple[int, ...]
    dtypes: tuple[str, ...]
    ops: tuple[str | None, ...]
    roots: tuple[int | None, ...]
    placements: tuple[bool, ...]
    memories: tuple[str, ...]
    algorithms: tuple[str, ...]
    chunks: tuple[int, ...]
    iterations: int | None
    rounds: int | None
    warmups: int
    seconds: float
    checks: int
    against: str | None
    device: str
    library: str
    measures: bool
    json: Path | None
    plot: Path | None
    quiet: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OptionError(message)


Value = TypeVar("Value")


def _typed(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """Let argparse show the text of the error that ``parse`` raises."""

    def parse_or_explain(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_or_explain


def _number_from(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ValueError(f"{text!r} is not a whole number from {least}")
        return int(text)

    return _typed(parse)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise ValueError(f"{text!r} is not a number above 0")
    return value


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; its errors are `OptionError`."""
    parser = _Parser(
        prog="python -m pycoll.bench",
        description="Measure a collective; start it under mpirun. Columns and options are those "
        "of nccl-tests.",
        add_help=False,
        allow_abbrev=False,
    )
    size = _typed(parse_size)
    parser.add_argument("collective", metavar="COLLECTIVE", help=", ".join(COLLECTIVES))
    add = parser.add_argument_group("sizes to scan").add_argument
    add("-b", "--minbytes", type=size, default="32M", metavar="BYTES", help="first size (32M)")
    add("-e", "--maxbytes", type=size, default="32M", metavar="BYTES", help="last size (32M)")
    add("-i", "--stepbytes", type=size, metavar="BYTES", help="from one size to the next (1M)")
    add("-f", "--stepfactor", type=_number_from(2), metavar="N", help="multiply instead of adding")
    add = parser.add_argument_group("operation").add_argument
    add("-d", "--datatype", default="float32", metavar="TYPE", help="as NumPy names it, or all")
    add("-o", "--op", default="sum", metavar="OP", help=f"{', '.join(_core.REDUCE_OPS)}, or all")
    add("-r", "--root", default="0", metavar="RANK", help="rank, or all (0)")
    add("--algorithm", default="auto", metavar="NAMES", help="auto, all, or names with commas")
    add("--chunk", default="0", metavar="BYTES", help="bytes per pipelined piece; or several")
    add(
        "--memory",
        choices=["plain", "registered", "both"],
        help="arrays that only their owner sees, as those of other libraries, or that all ranks of "
        "a node see, as NumPy's (registered; with --device cuda plain)",
    )
    add("--in-place", action="store_true", help="only in place")
    add("--out-of-place", action="store_true", help="only out of place")
    add = parser.add_argument_group("measurement").add_argument
    add("-n", "--iters", type=_number_from(1), metavar="N", help="per round (fitted to --seconds)")
    add("-w", "--warmup_iters", type=_number_from(1), default=2, metavar="N", help="untimed (2)")
    add("--rounds", type=_number_from(1), metavar="N", help="the median counts (3 to 9)")
    add(
        "--seconds",
        type=_typed(_positive),
        default=0.5,
        metavar="S",
        help="time for a size and placement (0.5)",
    )
    add("-c", "--check", type=_number_from(0), default=1, metavar="N", help="checked calls (1)")
    add("--against", choices=["mpi", "nccl"], help="take turns with the MPI library's own, or NCCL")
    add = parser.add_argument_group("GPUs").add_argument
    add("--device", choices=["cpu", "cuda"], default="cpu", help="where arrays lie (cpu)")
    add(
        "--array-library",
        choices=["auto", "cupy", "torch"],
        default="auto",
        help="whose arrays, on a GPU (cupy where it is installed, else torch)",
    )
    add("--not-a-measurement", action="store_true", help=argparse.SUPPRESS)
    add = parser.add_argument_group("results").add_argument
    add("--json", type=Path, metavar="FILE", help="write everything there")
    add("--plot", type=Path, metavar="FILE", help="draw time and bandwidth over size (.png, .svg)")
    add("--quiet", action="store_true", help="no progress bar")
    add("-h", "--help", action="store_true", help="show this")
    return parser


def parse_options(arguments: Sequence[str], ranks: int) -> Options:
    """Return the options of a command line, the same on all ranks.

    Raises
    ------
    OptionError
        When one is wrong, or they contradict each other.
    """
    given = make_parser().parse_args(arguments)
    name = given.collective
    if name not in COLLECTIVES:
        raise OptionError(f"unknown collective {name!r}; choose from {', '.join(COLLECTIVES)}")
    if name == "send_recv" and ranks < 2:
        raise OptionError("send_recv needs at least 2 ranks: mpirun -n 2 ...")
    if given.stepbytes is not None and given.stepfactor is not None:
        raise OptionError("give either -i (--stepbytes) or -f (--stepfactor), not both")
    try:
        sizes = size_range(given.minbytes, given.maxbytes, given.stepbytes, given.stepfactor)
        chunks = tuple(parse_size(text) for text in given.chunk.split(","))
    except ValueError as error:
        raise OptionError(str(error)) from None
    if any(chunks) and name not in WITH_CHUNK:
        raise OptionError(f"{name} is not pipelined: --chunk does not apply")
    if given.plot is not None and name == "barrier":
        raise OptionError("barrier has no sizes to plot: leave out --plot")
    if given.device == "cpu" and (given.against == "nccl" or given.array_library != "auto"):
        raise OptionError("--against nccl and --array-library are for --device cuda")
    if given.device == "cuda" and given.against == "mpi":
        raise OptionError("--against mpi is for arrays on the host; with --device cuda, use nccl")
    dtypes = _dtypes(given.datatype)
    return Options(
        collective=name,
        sizes=(0,) if name == "barrier" else sizes,
        dtypes=dtypes[:1] if name == "barrier" else dtypes,
        ops=_ops(given.op, dtypes) if name in REDUCING else (None,),
        roots=_roots(given.root, ranks) if name in ROOTED else (None,),
        placements=_placements(name, given),
        memories=_memories(name, given.memory, given.device),
        algorithms=_algorithms(name, given.algorithm),
        chunks=chunks,
        iterations=given.iters,
        rounds=given.rounds,
        warmups=given.warmup_iters,
        seconds=given.seconds,
        checks=given.check,
        against=given.against,
        device=given.device,
        library=given.array_library,
        measures=not given.not_a_measurement,
        json=given.json,
        plot=given.plot,
        quiet=given.quiet,
    )


def _dtypes(text: str) -> tuple[str, ...]:
    has_bfloat16 = importlib.util.find_spec("ml_dtypes") is not None
    if text == "all":
        return tuple(dtype for dtype in _core.DTYPE_SIZES if dtype != "bfloat16" or has_bfloat16)
    dtype = TYPE_NAMES.get(text, text)
    if dtype not in _core.DTYPE_SIZES:
        known = ", ".join([*_core.DTYPE_SIZES, *TYPE_NAMES])
        raise OptionError(f"unknown type {text!r}; choose from {known}, or all")
    if dtype == "bfloat16" and not has_bfloat16:
        raise OptionError("bfloat16 needs ml_dtypes: pip install ml_dtypes")
    return (dtype,)


def _ops(text: str, dtypes: Sequence[str]) -> tuple[str, ...]:
    if text == "all":
        return tuple(_core.REDUCE_OPS)
    if text not in _core.REDUCE_OPS:
        raise OptionError(f"unknown op {text!r}; choose from {', '.join(_core.REDUCE_OPS)}, or all")
    if not any(_core.supports(text, dtype) for dtype in dtypes):
        raise OptionError(f"op {text} is not defined for {', '.join(dtypes)}")
    return (text,)


def _roots(text: str, ranks: int) -> tuple[int, ...]:
    if text == "all":
        return tuple(range(ranks))
    if not text.isdecimal() or int(text) >= ranks:
        raise OptionError(f"root {text!r} is not one of the {ranks} ranks, from 0")
    return (int(text),)


def _placements(collective: str, given: argparse.Namespace) -> tuple[bool, ...]:
    possible: tuple[bool, ...] = (False, True)
    if collective in ONLY_IN_PLACE:
        possible = (True,)
    if collective in ONLY_OUT_OF_PLACE:
        possible = (False,)
    if given.in_place or given.out_of_place:
        wanted = {True} if given.in_place else set()
        wanted |= {False} if given.out_of_place else set()
        if not wanted <= set(possible):
            missing = "out-of-place" if True in possible else "in-place"
            raise OptionError(f"{collective} has no {missing} form")
        return tuple(sorted(wanted))
    # Beside the columns of another there is room for one placement: the one of training, where
    # gradients are replaced by their sums.
    return possible[-1:] if given.against else possible


def _memories(collective: str, text: str | None, device: str) -> tuple[str, ...]:
    if collective not in WITH_ALGORITHM:
        if text not in (None, "plain"):
            raise OptionError(f"{collective} makes no use of registered memory: leave out --memory")
        return ("plain",)
    if text is None:
        return ("registered",) if device == "cpu" else ("plain",)
    return ("plain", "registered") if text == "both" else (text,)


def _algorithms(collective: str, text: str) -> tuple[str, ...]:
    if text == "auto":
        return ("auto",)
    if collective not in WITH_ALGORITHM:
        raise OptionError(f"{collective} has no choice of algorithm: leave out --algorithm")
    known = [entry.name for entry in _core.algorithms() if entry.collective == collective]
    if text == "all":
        return tuple(known)
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in ("auto", *known):
            choices = ", ".join(["auto", "all", *known])
            raise OptionError(f"{collective} has no algorithm {name!r}; choose from {choices}")
    return names
