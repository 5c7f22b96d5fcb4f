"""The trainer on a GPU, with a stand-in for CuPy: arrays of host and device never meet."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import sample, small_trainer
from stand_in_cupy import DeviceArray, StandInCuPy
from stand_in_gpu_calls import device_arrays_accepted

import pycoll
from pycoll.train import RefusedError, Trainer
from pycoll.train.array_module import array_module, use_device


def on_cuda(**options: Any) -> Trainer:
    host = small_trainer(pycoll.world(), **options)
    return Trainer(pycoll.world(), host.corpus, host.config, host.settings, device="cuda")


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInCuPy]:
    module = StandInCuPy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    with device_arrays_accepted():
        yield module


@pytest.mark.usefixtures("cupy")
def test_the_stand_in_refuses_to_mix() -> None:
    """What the other tests rest on."""
    device = array_module("cuda").asarray(np.ones(3))
    with pytest.raises(TypeError, match="Unsupported type"):
        device + np.ones(3)
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(device)
    with pytest.raises(TypeError, match="Unsupported type"):
        device[...] = np.ones(3)
    with pytest.raises(TypeError, match="Unsupported type"):
        np.matmul(np.ones((3, 3)), device)


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adamw"},
        {"optimizer": "sgd"},
        {"optimizer": "adamw", "zero": 1, "precision": "bfloat16"},
    ],
)
def test_a_run_on_the_device_equals_one_on_the_host(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    if "precision" in options:
        pytest.importorskip("ml_dtypes")
    host, device = small_trainer(pycoll.world(), **options), on_cuda(**options)
    for _ in range(3):
        assert device.train_step().loss == host.train_step().loss
    assert device.validate() == host.validate()
    for (name, ours), (_, theirs) in zip(
        host.pipeline.named_parameters(), device.pipeline.named_parameters(), strict=True
    ):
        assert isinstance(theirs.data, DeviceArray)
        np.testing.assert_array_equal(theirs.data.get(), ours.data, err_msg=name)
    assert sample(device, 9) == sample(host, 9)

    # Checkpoints do not depend on the device.
    device.save(tmp_path)
    device.finish_saving()
    resumed = small_trainer(pycoll.world(), **options)
    assert resumed.resume(tmp_path) == []
    again = on_cuda(**options)
    again.resume(tmp_path)
    assert again.train_step().loss == resumed.train_step().loss == host.train_step().loss


@pytest.mark.parametrize(("local_rank", "expected"), [(0, 0), (1, 1), (2, 0), (7, 1)])
def test_ranks_of_a_host_share_out_its_gpus(
    monkeypatch: pytest.MonkeyPatch, local_rank: int, expected: int
) -> None:
    module = StandInCuPy(devices=2)
    monkeypatch.setitem(sys.modules, "cupy", module)
    use_device("cuda", local_rank)
    assert module.used == [expected]


def test_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(RefusedError, match="device 'cuda' needs CuPy: install"):
        on_cuda()


def test_bfloat16_needs_a_cupy_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ml_dtypes")
    monkeypatch.setitem(sys.modules, "cupy", StandInCuPy(version="13.6.0"))
    with pytest.raises(RefusedError, match=r"needs CuPy 14 or newer, not 13\.6\.0: update it"):
        on_cuda(precision="bfloat16")


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", StandInCuPy(devices=0))
    with pytest.raises(RefusedError, match=r"no GPU can be used here \(cudaErrorNoDevice\)"):
        on_cuda()


def test_the_host_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    use_device("cpu", 3)
    assert array_module("cpu") is np
