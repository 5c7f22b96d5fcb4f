"""Collective communication for machine learning over MPI.

>>> import numpy as np, pycoll
>>> comm = pycoll.world()
>>> gradient = np.full(4, comm.rank, dtype=np.float32)
>>> comm.all_reduce(gradient, op="avg")  # in place, on every rank

Start programs with ``mpirun -n 8 python program.py``.
"""

from __future__ import annotations

import sys

try:
    from pycoll._core import CollectiveError, CudaError, TimeoutError
    from pycoll._core._loading import MPIMismatchError
    from pycoll.communicator import Communicator, world
    from pycoll.device_array import DeviceArray
    from pycoll.work import Work, wait_some
except (ImportError, RuntimeError):  # mpi4py raises RuntimeError when it finds no MPI library
    # `python -m pycoll info` (which is how sys.argv looks meanwhile) says itself what is wrong.
    if sys.argv[:2] != ["-m", "info"]:
        raise

__all__ = [
    "CollectiveError",
    "Communicator",
    "CudaError",
    "DeviceArray",
    "MPIMismatchError",
    "TimeoutError",
    "Work",
    "__version__",
    "wait_some",
    "world",
]

__version__ = "0.1.0"
