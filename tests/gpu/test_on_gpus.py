"""On real GPUs: ``make test-gpu``. Without one, all of this is skipped, and says why.

Ranks share the GPUs that there are. Each job tests one way for data to take.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hardware import require_gpu
from launching import Mpirun

pytestmark = pytest.mark.gpu

TESTS = Path(__file__).parent.parent
# By default: in a node by CUDA IPC; between nodes straight from a GPU's memory if MPI says that it
# can, else through the host's.
WAYS = {
    "default": {},
    "through the host": {"PYCOLL_CUDA_IPC": "0", "PYCOLL_CUDA_AWARE": "0"},
    "by messages": {"PYCOLL_CUDA_IPC": "0"},
}
FAST = ("-n", "2", "-w", "1", "--rounds", "2", "--seconds", "0.01", "--quiet")


@pytest.fixture(autouse=True)
def gpu() -> None:
    require_gpu()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 8])
def test_calls(mpirun: Mpirun, ranks: int, way: str) -> None:
    done = mpirun(
        ranks,
        str(TESTS / "run_ranks.py"),
        "-rs",
        str(TESTS / "gpu" / "ranks"),
        env=WAYS[way],
        timeout=600,
    )
    assert done.returncode == 0, f"{done.stdout[-12000:]}\n{done.stderr[-4000:]}"
    print(done.stdout[-2000:])


@pytest.mark.parametrize("library", ["cupy", "torch"])
@pytest.mark.parametrize("collective", ["all_reduce", "all_to_all", "send_recv"])
def test_the_bench_runs(mpirun: Mpirun, collective: str, library: str) -> None:
    arguments = ["--device", "cuda", "--array-library", library, "-b", "4K", "-e", "4M", "-f", "32"]
    done = mpirun(2, "-m", "pycoll.bench", collective, *arguments, *FAST)
    if "needs " + library in done.stderr or "can use no GPU" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# Wrong values: 0 OK" in done.stdout
    assert "GPU time" in done.stdout


def test_nccl_beside_it(mpirun: Mpirun) -> None:
    from pycoll import _core

    if len(_core.cuda_devices()) < 2:
        pytest.skip("NCCL needs a GPU for each rank, and there is one GPU")
    arguments = ["--device", "cuda", "--against", "nccl", "-b", "4K", "-e", "4M", "-f", "32"]
    done = mpirun(2, "-m", "pycoll.bench", "all_reduce", *arguments, *FAST)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NCCL" in done.stdout
    assert "Wrong values of" not in done.stdout


def test_training_takes_the_course_of_the_host(mpirun: Mpirun, tmp_path: Path) -> None:
    """Up to the order of sums in the GPU's own libraries."""
    import json

    text = tmp_path / "text"
    text.write_text("the quick brown fox jumps over the lazy dog.\n" * 40)
    common = ["--context=16", "--width=32", "--heads=4", "--layers=2", "--steps=8"]
    common += ["--batch-size=16", "--warmup=2", "--sample-length=5", f"--data={text}"]
    modes = ["", "--zero=1", "--tp=2 --sequence-parallel", "--pp=2", "--tp=2 --pp=2"]
    modes += ["--mode=local-sgd --local-steps=4", "--mode=ps"]
    for mode in modes:
        losses = {}
        for device in ("cpu", "cuda"):
            out = tmp_path / device
            options = [*common, *mode.split(), f"--device={device}", f"--out={out}"]
            done = mpirun(4, "train.py", *options, timeout=300)
            if "needs CuPy" in done.stderr:
                pytest.skip("the trainer needs CuPy")
            assert done.returncode == 0, f"{mode}: {done.stderr}"
            lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
            losses[device] = [line["loss"] for line in lines if "loss" in line]
        assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-4), mode
