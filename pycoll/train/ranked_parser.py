"""A command line that every rank reads and that rank 0 talks about."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from pycoll.train.options_file import arguments_in
from pycoll.train.verdict import RefusedError, agreed, broadcast_text

if TYPE_CHECKING:
    from pycoll import Communicator


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keep the lines of the description, and add to each option the default that it has."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        has_default = action.option_strings and action.nargs != 0 and action.default is not None
        return f"{action.help} (default: %(default)s)" if has_default else action.help


class RankedParser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` for all ranks: help and errors come from rank 0 only.

    Parameters
    ----------
    comm : Communicator
    **options
        As for `argparse.ArgumentParser`.
    """

    def __init__(self, comm: Communicator, **options: Any) -> None:
        super().__init__(formatter_class=_HelpFormatter, allow_abbrev=False, **options)
        self.comm = comm
        self._file: Path | None = None
        self.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help="TOML file of options, such as 'steps = 200'; options given beside it win",
        )

    def parse(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """Return the options given, in the file of ``--config`` (which rank 0 reads) or here.

        Collective. Ends the program on all ranks where they are wrong.
        """
        given = list(sys.argv[1:] if arguments is None else arguments)
        options = self.parse_args(given)
        if options.config is None:
            return options
        try:
            with agreed(self.comm):
                text = options.config.read_text("utf-8") if self.comm.rank == 0 else ""
            text = broadcast_text(self.comm, text)
            with agreed(self.comm):
                in_file = arguments_in(text)
        except RefusedError as error:
            self.error(f"--config {options.config}: {error}")
        self._file = options.config
        self.parse_args(in_file)
        self._file = None
        return self.parse_args([*in_file, *given])

    def print_help(self, file: Any = None) -> None:
        """Print the help, on rank 0."""
        if self.comm.rank == 0:
            super().print_help(file)

    def exit(self, status: int = 0, message: str | None = None) -> Never:
        """End the program on all ranks with an exit code. Collective."""
        if message and self.comm.rank == 0:
            sys.stderr.write(message)
        sys.stdout.flush()
        sys.stderr.flush()
        # mpirun may end the other ranks as soon as one has left with an error: rank 0 speaks first.
        self.comm.barrier()
        sys.exit(status)

    def error(self, message: str) -> Never:
        """Refuse the command line. Collective: all ranks have the same one."""
        where = "" if self._file is None else f"in {self._file}: "
        self.exit(
            2, f"{self.prog}: error: {where}{message}\n{self.prog} --help lists the options\n"
        )

    def fail(self, error: Exception) -> Never:
        """Say what went wrong later, and end the program on all ranks. Collective."""
        self.exit(1, f"{self.prog}: error: {error}\n")
