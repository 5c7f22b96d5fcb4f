"""Starts programs under mpirun."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What Open MPI needs to run as root and with more ranks than cores (see the Makefile); others
# ignore it. One BLAS thread each: the ranks share the cores. And what Python compiles is kept, also
# where the environment says otherwise: a thousand ranks are started.
ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "",
    "PYCOLL_TIMEOUT": "60",
}

#: On how many ranks tests run. PYCOLL_TEST_RANKS=2,4 limits these, as for a second MPI: all but
#: transport/mpi.cpp is the same. Some tests are for 2 or for 4 ranks only.
RANKS = [int(ranks) for ranks in os.environ.get("PYCOLL_TEST_RANKS", "1,2,3,4,5,7,8").split(",")]

Mpirun = Callable[..., subprocess.CompletedProcess[str]]


def find_mpirun() -> str:
    beside = Path(sys.executable).parent / "mpirun"
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    assert found, "there is no mpirun beside the interpreter or on PATH"
    return found


def run_under_mpirun(
    ranks: int,
    *args: str,
    timeout: float = 120,
    env: dict[str, str] | None = None,
    launcher: list[str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run ``python *args`` on some ranks; past ``timeout`` seconds the test fails."""
    command = [*(launcher or [find_mpirun()]), "-n", str(ranks), sys.executable, *args]
    with subprocess.Popen(
        command,
        env={**os.environ, **ENVIRONMENT, **(env or {})},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            pytest.fail(
                f"{' '.join(command)} was not done after {timeout} s\n{stdout[-8000:]}\n"
                f"{stderr[-8000:]}"
            )
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
