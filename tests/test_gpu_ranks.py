"""The tests of collectives on ranks, with their arrays on fake GPUs: see cuda/ranks_on_gpus.py."""

from __future__ import annotations

from pathlib import Path

import fake_gpu
import pytest
from launching import RANKS, Mpirun

TESTS = Path(__file__).parent
MESSAGES = {"PYCOLL_CUDA_IPC": "0"}

#: What goes through pinned memory, by an MPI that takes memory of GPUs, by memory that is mapped.
PINNED: dict[str, object] = {"aware_mpi": False}
AWARE: dict[str, object] = {"aware_mpi": True}
MAPPED: dict[str, object] = {"aware_mpi": False}


def run(
    mpirun: Mpirun,
    ranks: int,
    parts: str,
    *options: str,
    env: dict[str, str] | None = None,
    gpus: int = 2,
    **fake: object,
) -> None:
    """Run the tests of the host's arrays; of those with parameters, some parts of 32."""
    paths = f"{TESTS.parent}:{TESTS / 'cuda'}"
    variables = {"PYTHONPATH": paths, "PYCOLL_TEST_PARTS": f"{parts}/32", **(env or {})}
    done = mpirun(
        ranks,
        str(TESTS / "run_ranks.py"),
        *("-p", "ranks_on_gpus", *options, str(TESTS / "ranks")),
        env={**fake_gpu.environment(gpus, **fake), **variables},  # type: ignore[arg-type]
        timeout=200,
    )
    assert done.returncode == 0, f"{done.stdout[-12000:]}\n{done.stderr[-4000:]}"
    print(done.stdout[-300:])


# Both ways together run all parts, most on few ranks: what stands in for a GPU needs a core, and 8
# ranks on 2 cores take ten times as long as 1 for the same part. Ranks share two GPUs.
PARTS = {
    "pinned": {1: "0,1,2,3,4,5,6", 2: "7,8,9,10,11,12,13", 3: "14,15,16", 5: "17"},
    "aware": {2: "18,19,20,21,22,23,24,25,26", 4: "27,28,29,30", 7: "31"},
}
MESSAGES_ON = [(way, ranks) for way, parts in PARTS.items() for ranks in parts if ranks in RANKS]


@pytest.mark.parametrize(("way", "ranks"), MESSAGES_ON)
def test_by_messages(mpirun: Mpirun, way: str, ranks: int) -> None:
    fake = {"pinned": PINNED, "aware": AWARE}[way]
    run(mpirun, ranks, PARTS[way][ranks], env=MESSAGES, seed=ranks, **fake)


@pytest.mark.parametrize(
    ("ranks", "gpus", "parts"), [(2, 2, "0,1,2,3,4,5"), (3, 2, "6,7,8"), (4, 1, "9,10")]
)
def test_by_mapped_memory(mpirun: Mpirun, ranks: int, gpus: int, parts: str) -> None:
    run(mpirun, ranks, parts, gpus=gpus, seed=ranks, **MAPPED)


def test_gpus_that_cannot_reach_each_other(mpirun: Mpirun) -> None:
    """Then messages are sent, and what cannot go without is not to be had."""
    run(mpirun, 3, "0", gpus=3, peer_access=0, **MAPPED)


FAILURES = """
import time
import numpy as np
import pycoll
from device_arrays import InterfaceArray
from fake_driver import LEGACY_STREAM, failing
from mpi4py import MPI

rank = MPI.COMM_WORLD.rank


def meet(function, nth, code, times=1):
    comm = pycoll.Communicator(timeout=0.5)
    ones = np.ones(30_000, np.float32)
    array = InterfaceArray.from_host(ones, device=rank, stream=LEGACY_STREAM)
    comm.all_reduce(array, algorithm="ring")
    began = time.monotonic()
    try:
        with failing(function if rank == 0 else "nothing", nth, code, times):
            for _ in range(3):
                comm.all_reduce(array, algorithm="ring", chunk_bytes=4096)
        heard = "nothing"
    except pycoll.CollectiveError as error:
        heard = f"{type(error).__name__}: {error}"
    assert time.monotonic() - began < 10
    comm.close()
    for line in MPI.COMM_WORLD.gather(heard) or []:
        print(f"{function} {code}: {line}", flush=True)


meet("cuMemAlloc_v2", 1, 2, times=2)
meet("cuMemHostAlloc", 1, 2, times=2)
meet("cuMemcpyAsync", 5, 1)
meet("kernel", 2, 719)
"""


def test_errors_of_cuda(mpirun: Mpirun) -> None:
    """The rank that meets one names it as CUDA does; the other one gives up in time."""
    env = {**fake_gpu.environment(2, aware_mpi=False), **MESSAGES}
    env["PYTHONPATH"] = f"{TESTS.parent}:{TESTS / 'cuda'}"
    done = mpirun(2, "-c", FAILURES, env=env, timeout=60)
    assert done.returncode == 0, done.stderr[-4000:]
    lines = done.stdout.splitlines()
    for case, name in {
        "cuMemAlloc_v2 2": "CUDA_ERROR_OUT_OF_MEMORY",
        "cuMemHostAlloc 2": "CUDA_ERROR_OUT_OF_MEMORY",
        "cuMemcpyAsync 1": "CUDA_ERROR_INVALID_VALUE",
        "kernel 719": "CUDA_ERROR_LAUNCH_FAILED",
    }.items():
        here, there = (line for line in lines if line.startswith(f"{case}: "))
        assert here.startswith(f"{case}: CudaError: rank 0: all_reduce"), here
        assert name in here
        assert there.startswith(f"{case}: TimeoutError: rank 1: all_reduce"), there
