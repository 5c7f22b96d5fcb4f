"""What this installation is and can do, for people and for reports of problems."""

from __future__ import annotations

import os
import platform
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import pycoll


def inspect_installation() -> dict[str, Any]:
    """Return what there is to know, by topic.

    Values are text, numbers, lists, and dicts of these. A topic of which nothing can be known has
    no key; when the native core or the MPI library cannot be loaded, "problem" says why.
    """
    found: dict[str, Any] = {
        "pycoll": f"{pycoll.__version__} in {Path(__file__).parent}",
        "Python": f"{platform.python_version()} on {platform.platform()}",
        "CPU": cpu_model(),
        "cores": usable_cores(),
    }
    try:
        from mpi4py import MPI

        found["MPI"] = " ".join(MPI.Get_library_version().split("\n")[0].split()).rstrip(",")
        major, minor = MPI.Get_version()
        found["MPI standard"] = f"{major}.{minor}"
        found["MPI threads"] = thread_level(MPI.Query_thread())
        found["ranks"] = MPI.COMM_WORLD.size
        from pycoll import _core
    except (ImportError, OSError, RuntimeError) as error:
        # mpi4py raises RuntimeError when it finds no MPI library.
        found["problem"] = str(error)
        return found
    found["built against"] = _core.built_against
    found["transports"] = ["mpi (point-to-point messages)", "shared memory (inside a node)"]
    found["shared memory"] = _shared_memory()
    found["tuning"] = _tuning()
    found["CUDA"] = _cuda_kernels()
    found["GPUs"] = _gpus()
    try:
        found["instruction set"] = _core.instruction_set()
    except ValueError as error:  # PYCOLL_ISA names one that this CPU does not have
        found["problem"] = str(error)
    found["dtypes"] = list(_core.DTYPE_SIZES)
    found["ops"] = {op: _supported_dtypes(op) for op in _core.REDUCE_OPS}
    algorithms: dict[str, list[str]] = defaultdict(list)
    for algorithm in _core.algorithms():
        algorithms[algorithm.collective].append(algorithm.name)
    found["algorithms"] = dict(algorithms)
    return found


def _shared_memory() -> str:
    """Return whether ranks of this node can share memory, in words."""
    from pycoll import _core
    from pycoll.shared_memory import SWITCH

    if os.environ.get(SWITCH, "1") == "0":
        return f"off: {SWITCH} is 0"
    try:
        _core.Segment.create(2)
    except OSError as error:
        return f"off: the system gives none ({error})"
    return "on"


def _cuda_kernels() -> str:
    """Return whether this build has kernels for GPUs, and for which ones, in words."""
    from pycoll import _core

    architectures = _core.cuda_architectures()
    if not architectures:
        return "no kernels: built with PYCOLL_CUDA=0, or where there was no CUDA toolkit (nvcc)"
    return f"kernels for {' '.join(architectures)}"


def _gpus() -> str:
    """Return what the driver and the GPUs of this machine are, or why there are none."""
    from pycoll import _core

    try:
        major, minor = _core.cuda_driver_version()
        devices = _core.cuda_devices()
    except RuntimeError as error:
        return f"none: {error}"
    names = [f"{name} (compute capability {major}.{minor})" for name, major, minor in devices]
    return f"{', '.join(names)}; driver for CUDA {major}.{minor}"


def _tuning() -> str:
    """Return by what auto chooses, in words."""
    from pycoll.tuning.file import SWITCH, load, path_in_use

    path = path_in_use()
    if path is None:
        return f"off: {SWITCH} is off"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tuning = load()
    if caught:
        return str(caught[0].message)
    if tuning is None:
        return "none: 'mpirun -n N python -m pycoll tune' measures this machine"
    return f"{path}, measured {tuning.machine.get('date', 'at some time')}"


def cpu_model() -> str:
    """Return the processor's name as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_level(level: int) -> str:
    """Return the name of an MPI thread level, and what it means for pycoll."""
    from mpi4py import MPI

    if level == MPI.THREAD_MULTIPLE:
        return "multiple: any thread may communicate at any time"
    names = {MPI.THREAD_SINGLE: "single", MPI.THREAD_FUNNELED: "funneled"}
    return f"{names.get(level, 'serialized')}: Python's lock keeps threads apart in every call"


def as_text(found: dict[str, Any]) -> str:
    """Return what `inspect_installation` found, one topic a line."""
    topics = [topic for topic in found if topic not in ("ops", "algorithms", "problem")]
    width = max(map(len, topics))
    lines = [f"{topic:<{width}}  {_in_words(found[topic])}" for topic in topics]
    if "ops" in found:
        lines += ["", "operations and their dtypes"]
        by_dtypes: dict[str, list[str]] = defaultdict(list)
        for op, dtypes in found["ops"].items():
            by_dtypes[_in_words(dtypes)].append(op)
        lines += [f"  {' '.join(ops)}: {dtypes}" for dtypes, ops in by_dtypes.items()]
    if "algorithms" in found:
        lines += ["", "algorithms (python -m pycoll plan COLLECTIVE --algorithm NAME shows them)"]
        wide = max(map(len, found["algorithms"]))
        for collective, names in found["algorithms"].items():
            lines.append(f"  {collective:<{wide}}  {' '.join(names)}")
    if "problem" in found:
        lines += ["", f"PROBLEM: {found['problem']}"]
    return "\n".join(lines)


def _supported_dtypes(op: str) -> list[str]:
    from pycoll import _core

    return [dtype for dtype in _core.DTYPE_SIZES if _core.supports(op, dtype)]


def _in_words(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)
