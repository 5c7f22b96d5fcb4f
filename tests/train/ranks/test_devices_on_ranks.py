"""``train.py --device cuda`` in all its modes, with a stand-in for CuPy: the course of the host.

Where the process has a fake GPU, the arrays lie on it, and all goes the way that it does on real
ones: see `test_training_on_fake_gpus.py`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stand_in_cupy import DeviceArray, StandInCuPy, arrays_in
from stand_in_gpu_calls import device_arrays_accepted

import pycoll
from pycoll.train.data_parallel.exchange import Exchange

ROOT = Path(__file__).parents[3]
FAKE_GPUS = int(os.environ.get("FAKE_CUDA_DEVICES", "0"))
SMALL = (
    "--context=8 --width=16 --heads=2 --layers=2 --sample-length=3 --steps=4 --batch-size=8 "
    "--warmup=2 --validate-every=2 --bucket-bytes=2000"
)
MODES = [
    "--tied",
    "--zero=1 --precision=bfloat16 --clip-norm=0.5",
    "--optimizer=sgd --activation=swiglu --micro-batches=2",
    "--tp=2 --clip-norm=0.5",
    "--tp=4 --heads=4 --sequence-parallel --recompute --tied",
    "--pp=2 --tied --schedule=gpipe --micro-batches=4",
    "--pp=2 --schedule=interleaved --zero=1 --layers=4 --micro-batches=4",
    "--dp=1 --tp=2 --pp=2 --sequence-parallel --precision=bfloat16 --micro-batches=4",
    "--mode=local-sgd --local-steps=2",
    "--mode=local-sgd --local-steps=2 --tp=2 --precision=bfloat16",
    "--mode=ps --servers=2",
    "--mode=ps --compress=8-bit --micro-batches=2 --consistency=bsp",
    "--mode=ps --compress=top-k --consistency=bsp",
]
# On fake GPUs, which take their time, those that have the most kinds of messages.
if FAKE_GPUS:
    MODES = [MODES[number] for number in (1, 4, 6, 7, 9, 10)]

comm = pycoll.world()
if comm.size != 4:
    pytest.skip("runs on 4 ranks", allow_module_level=True)


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "cupy", StandInCuPy(devices=FAKE_GPUS or 1))
    if not FAKE_GPUS:
        with device_arrays_accepted():
            yield
        return
    import fake_driver
    from fake_gpu_memory import FakeGpuMemory

    gpu = comm.rank % FAKE_GPUS
    before = fake_driver.races(), fake_driver.misuses()
    with fake_driver.current(gpu), arrays_in(FakeGpuMemory(gpu)):
        yield
    assert (fake_driver.races(), fake_driver.misuses()) == before


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all ranks see, with a text."""
    from mpi4py import MPI

    own = tmp_path_factory.mktemp("devices")
    (own / "text").write_text("the quick brown fox jumps over the lazy dog.\n" * 20)
    shared: Path = MPI.COMM_WORLD.bcast(own)
    return shared


def numbers(out: Path) -> list[dict[str, Any]]:
    """Return what a run wrote, less what time it took."""
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    kept = ("step", "loss", "validation_loss", "gradient_norm")
    return [{name: line.get(name) for name in kept} for line in lines]


def run(folder: Path, options: str, device: str) -> list[dict[str, Any]]:
    spec = importlib.util.spec_from_file_location("train_program", ROOT / "train.py")
    assert spec
    assert spec.loader
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    out = folder / device
    where = [f"--data={folder / 'text'}", f"--out={out}", f"--device={device}"]
    program.main([*f"{SMALL} {options}".split(), *where])
    comm.barrier()
    return numbers(out)


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("options", MODES)
def test_a_run_on_the_gpu_takes_the_course_of_one_on_the_host(folder: Path, options: str) -> None:
    """Bitwise: the stand-in computes as the host does. NumPy arrays that slip in are refused."""
    if "bfloat16" in options:
        pytest.importorskip("ml_dtypes")
    host = run(folder, options, "cpu")
    assert len(host) > 4
    assert run(folder, options, "cuda") == host


@pytest.mark.usefixtures("cupy")
def test_what_travels_is_on_the_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients are reduced where they are computed: no copies through the host."""
    travelling: list[object] = []
    reduce = Exchange.reduce

    def recorded(exchange: Exchange) -> None:
        travelling.append(exchange._gradients.memory)
        reduce(exchange)

    monkeypatch.setattr(Exchange, "reduce", recorded)
    run(folder, "--zero=1", "cuda")
    assert len(travelling) >= 8  # several buckets in each of 4 steps
    assert all(isinstance(memory, DeviceArray) for memory in travelling)
