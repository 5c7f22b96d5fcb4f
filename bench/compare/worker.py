"""One rank of one run: checks and times one collective at several sizes.

Started by `launching`; the argument is a `Job`.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import numpy as np

from .job import Job, Measured, Report
from .libraries import Library, open_library
from .operation import Operation
from .timing import time_batches


def measure(library: Library, collective: str, count: int, seconds: float) -> Measured:
    """Time a call whose result is right, before and after. Collective."""
    operation = Operation(library, collective, count)
    wrong = _check(library, operation)
    if wrong:
        return Measured(count, wrong, ())
    operation.clear()
    taken = time_batches(library, operation.call, seconds)
    # Only then has the way been taken that calls take when they are repeated.
    return Measured(count, _check(library, operation), taken)


def _check(library: Library, operation: Operation) -> int:
    operation.fill()
    # Nobody may write into an array that its owner still fills.
    library.barrier()
    operation.call()
    return int(library.maximum(np.array([float(operation.count_wrong())]))[0])


def run(job: Job) -> None:
    """Measure all sizes of a job; rank 0 writes what was measured.

    Raises
    ------
    RuntimeError
        When the ranks do not see each other.
    """
    library = open_library(job.library, memory=job.memory)
    if library.size != job.ranks:
        raise RuntimeError(
            f"{job.ranks} ranks were started, but {library.version} sees {library.size}: the "
            "launcher is that of another library"
        )
    measured: list[Measured] = []
    for count in job.counts:
        measured.append(measure(library, job.collective, count, job.seconds))
        if library.rank == 0:
            Report(library.version, tuple(measured)).write(Path(job.results))
    library.barrier()


if __name__ == "__main__":
    try:
        run(Job.from_text(sys.argv[1]))
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        # At once: a launcher ends the other ranks when one dies, but not while that one waits for
        # them in the finalisation of its library.
        os._exit(1)
