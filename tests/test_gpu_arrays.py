"""Arrays on GPUs, on a fake driver: see tests/cuda."""

from __future__ import annotations

from pathlib import Path

import fake_gpu
from launching import Mpirun

TESTS = Path(__file__).parent


def test_on_fake_gpus(mpirun: Mpirun) -> None:
    """All kinds of arrays, streams and registered memory, on two ranks with two GPUs."""
    done = mpirun(
        2,
        str(TESTS / "run_ranks.py"),
        str(TESTS / "cuda" / "gpu_ranks"),
        env=fake_gpu.environment(2),
    )
    assert done.returncode == 0, f"{done.stdout[-12000:]}\n{done.stderr[-4000:]}"


WITHOUT_A_GPU = """
import numpy as np
import pycoll

comm = pycoll.Communicator()


class OnGpu:
    shape = (3,)
    interface = {"shape": (3,), "typestr": "<f4", "data": (4096, False), "version": 3}

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **options):
        raise AssertionError("nothing is to be exported")


interface = OnGpu()
interface.__cuda_array_interface__ = OnGpu.interface
for call in (
    lambda: comm.all_reduce(OnGpu()),
    lambda: comm.all_reduce(interface),
    lambda: comm.empty(3, device="cuda"),
):
    try:
        call()
    except pycoll.CudaError as error:
        print(error)
assert comm.all_reduce(np.ones(3)).sum() == 3
"""


def test_without_a_gpu(mpirun: Mpirun) -> None:
    """The reason is said, and the host's arrays work as before."""
    done = mpirun(1, "-c", WITHOUT_A_GPU, env=fake_gpu.environment(0))
    assert done.returncode == 0, done.stderr[-4000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert "CUDA_ERROR_NO_DEVICE" in line
    for line in lines[:2]:
        assert line.startswith("rank 0: all_reduce: 'array' lies on a GPU, which pycoll cannot use")
        assert line.endswith("see docs/gpu.md")
    assert lines[2].startswith("rank 0: empty: ")
