"""On a fake GPU, what stands in for CuPy."""

from __future__ import annotations

import fake_cupy
from mpi4py import MPI

if fake_cupy.GPUS:
    fake_cupy.install(MPI.COMM_WORLD.rank)
