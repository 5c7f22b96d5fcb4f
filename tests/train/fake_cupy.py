"""CuPy as programs on a fake GPU get it: the stand-in, its arrays in the fake GPU's memory."""

from __future__ import annotations

import os
import sys

import fake_driver
import stand_in_cupy
from fake_gpu_memory import FakeGpuMemory

#: 0 in a process without fake GPUs.
GPUS = int(os.environ.get("FAKE_CUDA_DEVICES", "0"))


def install(local_rank: int) -> None:
    """Let ``import cupy`` find it from now on, with this rank's GPU as the current one."""
    gpu = local_rank % GPUS
    fake_driver.current(gpu).__enter__()
    stand_in_cupy.memory = FakeGpuMemory(gpu)
    sys.modules["cupy"] = stand_in_cupy.StandInCuPy(devices=GPUS)
