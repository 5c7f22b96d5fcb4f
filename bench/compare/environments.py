"""The environment of each contestant: an interpreter with its library, made when it is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from .contestants import Contestant


class EnvironmentMissingError(Exception):
    """A contestant cannot be measured here; the text says why."""


def interpreter_for(contestant: Contestant, given: Mapping[str, Path], folder: Path) -> Path:
    """Return the Python interpreter that runs a contestant.

    Parameters
    ----------
    given : mapping
        Interpreters that the user named, by contestant.
    folder : Path
        Below it every contestant has a virtual environment; it is made by the first call, and
        used by later ones.

    Raises
    ------
    EnvironmentMissingError
        When it is not there and cannot be made.
    """
    if contestant.name in given:
        return given[contestant.name]
    if not contestant.packages:
        return Path(sys.executable)
    home = folder / contestant.name
    interpreter = home / "bin" / "python"
    # Written at the end: an environment that was interrupted half-way is made anew.
    record = home / "packages"
    wanted = "\n".join(contestant.packages)
    if record.exists() and record.read_text() == wanted:
        return interpreter
    shutil.rmtree(home, ignore_errors=True)
    _run(contestant, sys.executable, "-m", "venv", str(home))
    install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    source = [] if contestant.index is None else ["--index-url", contestant.index, "--retries", "1"]
    _run(contestant, *install, *source, *contestant.packages)
    record.write_text(wanted)
    return interpreter


def _run(contestant: Contestant, *command: str) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        said = done.stdout.strip().splitlines()
        raise EnvironmentMissingError(
            f"{' '.join(command)} failed: {said[-1] if said else done.returncode}; to use an "
            f"environment that you have: --python {contestant.name}=.../bin/python"
        )
