"""What a figure depends on besides the code: machine, versions, command, date."""

from __future__ import annotations

import datetime
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mpi4py
import numpy as np
from mpi4py import MPI

import pycoll
from pycoll import _core
from pycoll._core._loading import brief
from pycoll.bench.memory import Memory
from pycoll.communicator import Communicator
from pycoll.topology import usable_cores


def describe_environment(
    comm: Communicator, arguments: Sequence[str], memory: Memory
) -> dict[str, Any]:
    """Return everything that is needed to make the figures again, as plain values."""
    return {
        "command": f"mpirun -n {comm.size} python -m pycoll.bench {shlex.join(arguments)}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "pycoll": pycoll.__version__,
        "transport": comm.transport,
        "mpi": brief(MPI.Get_library_version()),
        "ranks": comm.size,
        "nodes": comm.node_count,
        "cores": len(usable_cores()),
        "processor": processor_name(),
        "instruction_set": _core.instruction_set(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "mpi4py": mpi4py.__version__,
        "gpu": memory.device_name,
        "arrays": memory.library,
    }


def processor_name() -> str:
    """Return the name that the processor gives itself, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine_line(environment: dict[str, Any]) -> str:
    """Return one line for people: versions, ranks and machine."""
    nodes = environment["nodes"]
    where = "one node" if nodes == 1 else f"{nodes} nodes"
    gpu = environment["gpu"]
    arrays = f"; arrays of {environment['arrays']} on {gpu}" if gpu else ""
    return (
        f"pycoll {environment['pycoll']} over {environment['transport']}, {environment['mpi']}, "
        f"{environment['ranks']} ranks on {where} with {environment['cores']} cores "
        f"({environment['processor']}){arrays}"
    )
