"""The tests for real GPUs, and the bench, on fake ones: that they work is known before a GPU is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import fake_gpu
import pytest
from launching import Mpirun

TESTS = Path(__file__).parent.parent
BENCH = """
import sys
import fake_cupy
from mpi4py import MPI
fake_cupy.install(MPI.COMM_WORLD.rank)
from pycoll.bench.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
FAST = ("-n", "1", "-w", "1", "--rounds", "2", "--seconds", "0.01", "--quiet")


@pytest.fixture
def environment() -> dict[str, str]:
    paths = [str(TESTS / "cuda"), str(TESTS / "train"), os.environ.get("PYTHONPATH", "")]
    found: dict[str, str] = fake_gpu.environment(devices=2)
    return {**found, "PYTHONPATH": ":".join(filter(None, paths))}


def test_the_tests_for_gpus(mpirun: Mpirun, environment: dict[str, str]) -> None:
    done = mpirun(
        3, str(TESTS / "run_ranks.py"), str(TESTS / "gpu" / "ranks"), env=environment, timeout=200
    )
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    passed = int(done.stdout.rpartition(" passed")[0].split()[-1])
    assert passed >= 17  # but what needs PyTorch, or streams of CuPy, is run


def test_the_bench_takes_no_fake_gpu_for_a_real_one(
    mpirun: Mpirun, environment: dict[str, str]
) -> None:
    done = mpirun(2, "-c", BENCH, "all_reduce", "--device", "cuda", *FAST, env=environment)
    assert done.returncode == 2
    assert "'Fake GPU 0' is a simulation for tests" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_bench_on_fake_gpus_says_that_it_is_none(
    mpirun: Mpirun, environment: dict[str, str], tmp_path: Path
) -> None:
    results = tmp_path / "results.json"
    arguments = ["-b", "1K", "-e", "64K", "-f", "64", "--memory", "both", "-d", "bfloat16"]
    arguments += ["--device", "cuda", "--not-a-measurement", "--json", str(results)]
    done = mpirun(2, "-c", BENCH, "all_reduce", *arguments, *FAST, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("# NOT A MEASUREMENT")
    assert lines[-1].startswith("# NOT A MEASUREMENT")
    assert "# Wrong values: 0 OK" in lines
    report = json.loads(results.read_text())
    assert report["environment"]["not_a_measurement"]
    assert report["environment"]["gpu"].startswith("Fake GPU")
    assert len(report["results"]) == 8  # 2 sizes x 2 memories x in and out of place
    assert all(len(record["device_times"]) == 2 for record in report["results"])


def test_the_bench_without_a_gpu(mpirun: Mpirun) -> None:
    """One line on all ranks together, whichever library is installed, or none."""
    env = {"CUDA_VISIBLE_DEVICES": ""}
    done = mpirun(2, "-m", "pycoll.bench", "all_reduce", "--device", "cuda", *FAST, env=env)
    assert done.returncode == 2
    assert done.stderr.count("pycoll.bench:") == 1
    assert "--device cuda" in done.stderr
    assert "Traceback" not in done.stderr
