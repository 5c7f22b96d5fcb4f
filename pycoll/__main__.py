"""The command line: ``python -m pycoll info``, ``plan``, ``pipeline`` and ``tune``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from pycoll.inspection import as_text, inspect_installation


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        The exit code: 1 when the installation does not work or a schedule is wrong, else 0.
        Arguments that make no sense leave with 2 at once.
    """
    parser = Parser(prog="python -m pycoll", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    info = commands.add_parser("info", help="what this installation is and can do")
    info.add_argument("--json", action="store_true", help="print it for programs to read")
    info.set_defaults(run=_info)

    plan = commands.add_parser(
        "plan",
        help="prove, price, print and draw what all ranks do in a collective call",
        description="Works out what all ranks would do in one collective call: proves that it is "
        "right, predicts how long it takes, and prints the steps.",
    )
    plan.set_defaults(run=lambda options: _plan(plan, options))

    pipeline = commands.add_parser(
        "pipeline",
        help="prove, price, print and draw what the stages of a pipeline do",
        description="Works out what all stages of a pipeline-parallel model do in one step of "
        "training: proves that it is right, and shows the time line and its bubble.",
    )
    pipeline.set_defaults(run=lambda options: _pipeline(pipeline, options))

    tune = commands.add_parser(
        "tune",
        help="measure this machine, for algorithms to be chosen by that",
        description="Measures for some seconds what messages, folds and signals cost here and how "
        "long collectives take, prints it, and keeps it for all later runs on this machine with "
        "this MPI. Start it as your programs: mpirun -n N python -m pycoll tune.",
    )
    tune.set_defaults(run=lambda options: _tune(tune, options))
    given = sys.argv[1:] if arguments is None else arguments
    for name, command in (("plan", plan), ("pipeline", pipeline), ("tune", tune)):
        if name in given[:1]:
            _declare(name, command)

    options = parser.parse_args(given)
    code: int = options.run(options)
    return code


#: What else a command needs is imported for that command only: each works without the packages of
#: the others.
COMMANDS = {
    "plan": "pycoll.planning.command",
    "pipeline": "pycoll.train.pipeline_parallel.command",
    "tune": "pycoll.tuning.command",
}


def _declare(name: str, parser: Parser) -> None:
    """Declare the arguments of a command, or leave with what keeps it from working."""
    try:
        module = import_module(COMMANDS[name])
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] == "pycoll":
            raise
        parser.error(f"there is no package '{error.name}': pip install 'pycoll[train]'")
    module.add_arguments(parser)


def _info(options: argparse.Namespace) -> int:
    found = inspect_installation()
    print(json.dumps(found, indent=2) if options.json else as_text(found))
    return 1 if "problem" in found else 0


def _plan(parser: Parser, options: argparse.Namespace) -> int:
    from pycoll.planning.command import run

    try:
        return run(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def _pipeline(parser: Parser, options: argparse.Namespace) -> int:
    from pycoll.train.pipeline_parallel.command import run

    try:
        return run(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def _tune(parser: Parser, options: argparse.Namespace) -> int:
    from pycoll.tuning.command import run

    try:
        return run(options)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
