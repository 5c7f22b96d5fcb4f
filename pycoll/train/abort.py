"""One rank's failure ends the whole job.

A rank that dies alone leaves its peers inside a collective, waiting for it for ever.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Never

from mpi4py import MPI

from pycoll.train.verdict import AgreedError

if TYPE_CHECKING:
    from pycoll import Communicator

_SECONDS_TO_PASS_ON = 1.0
# What shells report for a program that Ctrl-C ended: 128 + SIGINT.
_INTERRUPTED = 130


@contextmanager
def abort_job_on_error(comm: Communicator) -> Iterator[None]:
    """Turn any exception in the block into the end of the job, with the rank's traceback.

    `AgreedError` (all ranks raise it) and ``SystemExit`` pass through: there nobody waits. So does
    every exception in a program of one process.
    """
    try:
        yield
    except (AgreedError, SystemExit):
        raise
    except BaseException as error:
        if MPI.COMM_WORLD.Get_size() == 1:
            raise
        if isinstance(error, KeyboardInterrupt):
            _end_job(f"rank {comm.rank}: interrupted\n", _INTERRUPTED)
        _end_job(
            f"rank {comm.rank} of {comm.size} failed; ending the job\n"
            + "".join(
                f"rank {comm.rank}: {line}\n" for line in traceback.format_exc().splitlines()
            ),
            1,
        )


def _end_job(text: str, code: int) -> Never:
    # One write: the lines of several failing ranks would mix otherwise.
    sys.stderr.write(text)
    sys.stderr.flush()
    sys.stdout.flush()
    # Launchers kill the job on abort, at times before they have passed on what it wrote (seen with
    # MPICH's hydra on a busy machine); nothing says when they have.
    time.sleep(_SECONDS_TO_PASS_ON)
    MPI.COMM_WORLD.Abort(code)
    # MPICH returns from it now and then; this rank must not go on then.
    os._exit(code)
