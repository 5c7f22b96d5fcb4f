"""Programs of tests on GPUs that there are not: what they need in their environment.

``environment()`` builds the fake NVIDIA driver and the library that plays a CUDA-aware MPI, once,
and says how a process finds them. They must be there when the process starts; what it does with
them is in ``fake_driver`` and ``device_arrays``.
"""

from __future__ import annotations

import fcntl
import functools
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DRIVER = ROOT / "build" / "cpp-none" / "cuda" / "libcuda.so.1"


def environment(
    devices: int = 1, *, aware_mpi: bool | None = None, **settings: object
) -> dict[str, str]:
    """Return the variables that give a program fake GPUs.

    Parameters
    ----------
    devices
        How many GPUs there are; 0 for a driver without any.
    aware_mpi
        True: the MPI takes pointers to GPU memory, and says so. False: it takes none. Either way
        its messages are accesses to memory of the driver, which race with what is on streams.
        None: nothing stands before MPI.
    settings
        More of what the driver reads, such as ``seed=3`` for FAKE_CUDA_SEED, ``fail=
        "cuMemAlloc_v2:3:2"``, ``plant="early_event"``, ``peer_access=0``, ``max_delay_us=500``.
        ``race="report"`` to go on after a race; otherwise the process aborts.
    """
    variables = {"race": "abort", "devices": devices, **settings}
    paths = [str(_build_driver()), os.environ.get("LD_LIBRARY_PATH", "")]
    result = {f"FAKE_CUDA_{name.upper()}": str(value) for name, value in variables.items()}
    result["LD_LIBRARY_PATH"] = ":".join(filter(None, paths))
    if aware_mpi is not None:
        result["LD_PRELOAD"] = str(_build_aware_mpi())
        result["FAKE_CUDA_AWARE_MPI"] = str(int(aware_mpi))
    return result


@functools.cache
def _build_driver() -> Path:
    """Build the driver where that is to be done, and return its folder."""
    _make("driver")
    return DRIVER.parent


@functools.cache
def _build_aware_mpi() -> Path:
    """Build the library that stands before the MPI of this interpreter."""
    beside = Path(sys.executable).parent / "mpicxx"
    # One for each MPI: environments have one each.
    library = DRIVER.parent / Path(sys.prefix).name / "libaware_mpi.so"
    _make("aware-mpi", f"MPICXX={beside if beside.exists() else 'mpicxx'}", f"AWARE_MPI={library}")
    return library


def _make(*targets: str) -> None:
    DRIVER.parent.mkdir(parents=True, exist_ok=True)
    with (DRIVER.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = subprocess.run(
            ["make", "-C", str(ROOT / "tests" / "cuda"), "-j2", *targets],
            # Not as a part of a make that these tests may be run by.
            env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert built.returncode == 0, f"{built.stdout[-2000:]}\n{built.stderr[-6000:]}"
