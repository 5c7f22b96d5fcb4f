"""Whether there is a GPU to test on, and the libraries whose arrays are tested there."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest

from pycoll import _core
from pycoll.bench.gpu_memory import CupyMemory, TorchMemory

#: Set by `make test-gpu`: then a test that finds no GPU fails instead of being skipped.
REQUIRED = "PYCOLL_REQUIRE_GPU"


def missing() -> str | None:
    """Return why there is nothing to test; None where there is."""
    try:
        devices = _core.cuda_devices()
    except RuntimeError as error:
        return f"no GPU: {error}"
    if not devices:
        return "no GPU: the driver finds none"
    if not any(map(installed, ("cupy", "torch"))):
        return "neither CuPy nor a PyTorch with CUDA is installed"
    return None


def require_gpu() -> None:
    """Skip the test, or fail it where a GPU must be there."""
    reason = missing()
    if reason is None:
        return
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def is_fake() -> bool:
    """Return whether the GPUs are simulated ones: see tests/cuda."""
    try:
        devices = _core.cuda_devices()
    except RuntimeError:
        return False
    return any(name.startswith("Fake") for name, *_ in devices)


def installed(name: str) -> bool:
    """Return whether a library can use a GPU here; on a simulated one, only a stand-in can."""
    if name == "torch" and is_fake():
        return False
    try:
        library = importlib.import_module(name)
    except ImportError:
        return False
    return name != "torch" or bool(library.cuda.is_available())


def memory_of(library: str, local_rank: int) -> Any:
    """Return the memory of this rank's GPU by a library; skip the test where it is missing."""
    if not installed(library):
        pytest.skip(f"{library} cannot use a GPU here")
    return CupyMemory(local_rank) if library == "cupy" else TorchMemory(local_rank)
