"""How many threads each rank's matrix products use.

BLAS libraries start one thread per core in every process. With 8 ranks on 2 cores that makes 16
threads which spin against each other, so the cores are shared out among the ranks of a host.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from pycoll import Communicator


def share_cores(comm: Communicator) -> int:
    """Limit BLAS in this process to its share of the host's cores.

    It also works on a BLAS that is loaded already, unlike ``OPENBLAS_NUM_THREADS``.

    Returns
    -------
    int
        The number of threads: ``max(1, cores // ranks on this host)``.
    """
    threads = max(1, _usable_cores() // comm.local_size)
    threadpool_limits(limits=threads, user_api="blas")
    return threads


def _usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))  # honours what mpirun, taskset or a container allow
    except AttributeError:  # only Linux has it
        return os.cpu_count() or 1
