"""Which native core belongs to the MPI of this process.

MPI libraries are not binary compatible with each other, but for those that share MPICH's ABI. A
core that was built for another one would crash, or load a second MPI into the process. Hence the
core's file is named for the family it was built for, and is loaded only under that family.
"""

from __future__ import annotations

import importlib
import re
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

FAMILIES = {"mpich": "MPICH (or an MPI with its ABI)", "openmpi": "Open MPI"}


class MPIMismatchError(ImportError):
    """The MPI that runs this process is not the one that pycoll was built for."""


def family_of(library_version: str) -> str | None:
    """Return the key of `FAMILIES` for what ``MPI_Get_library_version`` says; None if unknown."""
    if "Open MPI" in library_version:
        return "openmpi"
    if re.search(r"MPICH|MVAPICH|Intel\(R\) MPI", library_version):
        return "mpich"
    return None


def brief(library_version: str) -> str:
    """Return the name and number at the start of a library's description of itself."""
    intel = re.search(r"Intel\(R\) MPI Library ([\w.]+)", library_version)
    if intel:
        return f"Intel MPI {intel[1]}"
    named = re.match(r"(Open MPI|MPICH|MVAPICH2?)\D*([\w.]+)", library_version)
    return f"{named[1]} {named[2]}" if named else library_version.strip().split("\n")[0][:60]


def built_families(folder: Path) -> list[str]:
    """Return the families for which a core lies in ``folder``."""
    return [
        family
        for family in FAMILIES
        if any((folder / f"{family}{suffix}").exists() for suffix in EXTENSION_SUFFIXES)
    ]


def choose_family(running: str, built: list[str]) -> str:
    """Return the family of the core to load.

    Parameters
    ----------
    running : str
        What ``MPI_Get_library_version`` says in this process.
    built : list of str
        Families for which there is a core.

    Raises
    ------
    ImportError
        When there is no core at all.
    MPIMismatchError
        When there is none for the MPI that runs; it names both and says what to do.
    """
    if not built:
        raise ImportError(
            "pycoll has no native core here: it was not built. Run 'pip install .' in pycoll's "
            "checkout, in the environment that you use now"
        )
    family = family_of(running)
    if family in built:
        return family
    names = " and ".join(FAMILIES[name] for name in built)
    raise MPIMismatchError(
        f"this process runs under {brief(running)}, but pycoll was built for {names}. Either "
        f"start it with the mpirun (and mpi4py) of {names}, or build pycoll again for "
        f"{brief(running)}: 'pip install --force-reinstall --no-deps .' in its checkout, with "
        "MPICXX set to that MPI's mpicxx"
    )


def load_core() -> ModuleType:
    """Import the core for the MPI of this process.

    mpi4py goes first: it finds the MPI library and initialises it, and the core then uses the
    library that is loaded already.
    """
    from mpi4py import MPI

    family = choose_family(MPI.Get_library_version(), built_families(Path(__file__).parent))
    return importlib.import_module(f"pycoll._core.{family}")
