"""Which native core is loaded, and what is said when there is none for the MPI that runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from mpi4py import MPI

import pycoll
from pycoll._core._loading import (
    FAMILIES,
    MPIMismatchError,
    brief,
    built_families,
    choose_family,
    family_of,
)

MPICH = "MPICH Version:      4.3.1\nMPICH Release date: Fri Jun 20 2025\nMPICH Device: ch4:ofi\n"
OPEN_MPI = "Open MPI v5.0.8, package: Open MPI root@host Distribution, ident: 5.0.8, repo rev: x"
INTEL = "Intel(R) MPI Library 2021.14 for Linux* OS\n"
MVAPICH = "MVAPICH Version: 4.0\nMVAPICH Release date: Feb 2025\n"
OTHER = "Some MPI 1.0\nof somebody"


@pytest.mark.parametrize(
    ("version", "family", "name"),
    [
        (MPICH, "mpich", "MPICH 4.3.1"),
        (OPEN_MPI, "openmpi", "Open MPI 5.0.8"),
        (INTEL, "mpich", "Intel MPI 2021.14"),
        (MVAPICH, "mpich", "MVAPICH 4.0"),
        (OTHER, None, "Some MPI 1.0"),
    ],
)
def test_families(version: str, family: str | None, name: str) -> None:
    """Each library is known by what it says of itself, and called by a short name."""
    assert family_of(version) == family
    assert brief(version) == name


def test_the_running_mpi_is_known() -> None:
    """The library that runs this test has a family, for which the core was built."""
    family = family_of(MPI.Get_library_version())
    assert family in built_families(Path(pycoll.__file__).parent / "_core")
    assert pycoll._core._native.__name__ == f"pycoll._core.{family}"


def test_built_families(tmp_path: Path) -> None:
    """Cores are found by their file names, whatever else lies around."""
    assert built_families(tmp_path) == []
    (tmp_path / f"openmpi{EXTENSION_SUFFIXES[0]}").touch()
    (tmp_path / "mpich.txt").touch()
    assert built_families(tmp_path) == ["openmpi"]
    (tmp_path / f"mpich{EXTENSION_SUFFIXES[-1]}").touch()
    assert sorted(built_families(tmp_path)) == ["mpich", "openmpi"]


def test_the_core_of_the_running_family_is_chosen() -> None:
    """Also where there are several."""
    for built in (["mpich"], ["mpich", "openmpi"]):
        assert choose_family(MPICH, built) == "mpich"
    assert choose_family(OPEN_MPI, ["mpich", "openmpi"]) == "openmpi"


@pytest.mark.parametrize(
    ("running", "built", "names"),
    [
        (OPEN_MPI, ["mpich"], ["Open MPI 5.0.8", "MPICH"]),
        (MPICH, ["openmpi"], ["MPICH 4.3.1", "Open MPI"]),
        (OTHER, ["mpich", "openmpi"], ["Some MPI 1.0", "MPICH", "Open MPI"]),
    ],
)
def test_another_mpi_is_refused(running: str, built: list[str], names: list[str]) -> None:
    """The error names both and says what to do."""
    with pytest.raises(MPIMismatchError) as error:
        choose_family(running, built)
    for text in (*names, "mpirun", "pip install", "MPICXX"):
        assert text in str(error.value)


def test_no_core_at_all() -> None:
    """A checkout that was not built says so."""
    with pytest.raises(ImportError, match=r"was not built. Run 'pip install \.'"):
        choose_family(MPICH, [])


def run_copy(folder: Path, rename: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Import a copy of the package whose cores have other names."""
    package = folder / "pycoll"
    shutil.copytree(
        Path(pycoll.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "*.so")
    )
    for family in built_families(Path(pycoll.__file__).parent / "_core"):
        for suffix in EXTENSION_SUFFIXES:
            core = Path(pycoll.__file__).parent / "_core" / f"{family}{suffix}"
            if family in rename and core.exists():
                shutil.copy(core, package / "_core" / f"{rename[family]}{suffix}")
    program = "import pycoll; print(pycoll.__file__, pycoll._core._native.__name__)"
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60
    )


def test_importing_under_another_mpi(tmp_path: Path) -> None:
    """A process that finds only the core of another MPI ends with the error, not with a crash."""
    running = family_of(MPI.Get_library_version())
    (other,) = FAMILIES.keys() - {running}
    done = run_copy(tmp_path, {running: other})
    assert done.returncode == 1
    last = done.stderr.strip().split("\n")[-1]
    assert last.startswith("pycoll._core._loading.MPIMismatchError: this process runs under ")
    assert brief(MPI.Get_library_version()) in last
    assert f"was built for {FAMILIES[other]}" in last


def test_importing_without_a_core(tmp_path: Path) -> None:
    """A package without any core says how to get one."""
    done = run_copy(tmp_path, {})
    assert done.returncode == 1
    assert "ImportError: pycoll has no native core here" in done.stderr


def test_importing_a_copy(tmp_path: Path) -> None:
    """The copy that the tests above make does work when its core is the right one."""
    running = family_of(MPI.Get_library_version())
    done = run_copy(tmp_path, {running: running})
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout
