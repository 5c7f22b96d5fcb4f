"""Arrays on a GPU, of CuPy or PyTorch, and the time of what is on their stream."""

from __future__ import annotations

import importlib
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pycoll import CollectiveError, _core
from pycoll.bench.memory import Array, Taken
from pycoll.bench.option_error import OptionError
from pycoll.communicator import Communicator

LIBRARIES = ("cupy", "torch")


class EventClock:
    """Two events on the current stream, and the time on the wall.

    Parameters
    ----------
    library : CupyMemory or TorchMemory
    """

    def __init__(self, library: CupyMemory | TorchMemory) -> None:
        self._library = library
        self._first, self._last = library.event(), library.event()

    def start(self) -> None:
        """Begin when what is on the stream is over."""
        self._first.record()
        self._first.synchronize()
        self._begin = time.perf_counter()
        self._first.record()

    def stop(self) -> Taken:
        """Return the time since `start`, when all that is on the stream is over."""
        self._last.record()
        self._last.synchronize()
        wall = time.perf_counter() - self._begin
        return Taken(wall, self._library.milliseconds(self._first, self._last) / 1000)


class CupyMemory:
    """CuPy's arrays, on the current GPU.

    Raises
    ------
    OptionError
        When no GPU can be used.
    """

    library = "cupy"

    def __init__(self, local_rank: int) -> None:
        cupy = importlib.import_module("cupy")
        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise OptionError(f"--device cuda: no GPU can be used here ({error})") from error
        self.number = local_rank % count
        cupy.cuda.Device(self.number).use()
        name = cupy.cuda.runtime.getDeviceProperties(self.number)["name"]
        self.device_name = name.decode() if isinstance(name, bytes) else str(name)
        self._cupy = cupy

    def private(self, count: int, dtype: np.dtype[Any]) -> Array:
        """Return an array with one axis that no other rank sees."""
        return self._cupy.empty(count, dtype)

    def registered(self, comm: Communicator, count: int, dtype: np.dtype[Any]) -> Array:
        """Return one that all ranks of the node see."""
        return comm.empty(count, dtype, device="cuda")

    def read(self, array: Array, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return a copy of what is in an array."""
        copy: NDArray[Any] = array.get()
        return copy

    def write(self, array: Array, values: NDArray[Any]) -> None:
        """Put values into an array."""
        array.set(values)

    def clock(self) -> EventClock:
        """Return a clock for calls whose work is on the current stream, too."""
        return EventClock(self)

    def event(self) -> Any:
        """Return an event that can be timed."""
        return self._cupy.cuda.Event()

    def milliseconds(self, first: Any, last: Any) -> float:
        """Return the time between two events."""
        return float(self._cupy.cuda.get_elapsed_time(first, last))


class TorchMemory:
    """PyTorch's tensors, on the current GPU.

    What is in them passes as bytes: NumPy has not all of PyTorch's types, nor the other way round.

    Raises
    ------
    OptionError
        When no GPU can be used.
    """

    library = "torch"

    def __init__(self, local_rank: int) -> None:
        self._torch: Any = importlib.import_module("torch")
        cuda = self._torch.cuda
        if not cuda.is_available():
            raise OptionError(
                "--device cuda: PyTorch can use no GPU here (torch.cuda.is_available() is False)"
            )
        self.number = local_rank % cuda.device_count()
        cuda.set_device(self.number)
        self.device_name = str(cuda.get_device_name(self.number))

    def private(self, count: int, dtype: np.dtype[Any]) -> Array:
        """Return a tensor with one axis that no other rank sees."""
        kind = getattr(self._torch, dtype.name, None)
        if kind is None:
            raise OptionError(f"PyTorch has no type {dtype.name}; choose another -d (--datatype)")
        return self._torch.empty(count, dtype=kind, device="cuda")

    def registered(self, comm: Communicator, count: int, dtype: np.dtype[Any]) -> Array:
        """Return one that all ranks of the node see."""
        return self._torch.from_dlpack(comm.empty(count, dtype, device="cuda"))

    def read(self, array: Array, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return a copy of what is in a tensor."""
        content: NDArray[Any] = array.view(self._torch.uint8).cpu().numpy()
        return content.view(dtype)

    def write(self, array: Array, values: NDArray[Any]) -> None:
        """Put values into a tensor."""
        content = self._torch.from_numpy(values.view(np.uint8))
        array.view(self._torch.uint8).copy_(content)

    def clock(self) -> EventClock:
        """Return a clock for calls whose work is on the current stream, too."""
        return EventClock(self)

    def event(self) -> Any:
        """Return an event that can be timed."""
        return self._torch.cuda.Event(enable_timing=True)

    def milliseconds(self, first: Any, last: Any) -> float:
        """Return the time between two events."""
        return float(first.elapsed_time(last))


def gpu_memory(library: str, local_rank: int, *, measures: bool) -> CupyMemory | TorchMemory:
    """Return the memory of the GPU of this rank; ranks of a node share out its GPUs.

    Parameters
    ----------
    library : {"auto", "cupy", "torch"}
        "auto" takes CuPy where it is installed, else PyTorch.
    measures : bool
        Whether the times are for people: those of a simulated GPU are not.

    Raises
    ------
    OptionError
        When there is no such library or no GPU, or when it is a simulated one.
    """
    names = LIBRARIES if library == "auto" else (library,)
    found = next((name for name in names if _installed(name)), None)
    if found is None:
        raise OptionError(
            f"--device cuda needs {' or '.join(names)}: pip install 'pycoll[cuda12]', or see "
            "docs/gpu.md"
        )
    memory = CupyMemory(local_rank) if found == "cupy" else TorchMemory(local_rank)
    if measures:
        _require_real_gpus()
    return memory


def _require_real_gpus() -> None:
    try:
        devices = _core.cuda_devices()
    except CollectiveError as error:
        raise OptionError(f"--device cuda: {error}") from error
    # So the driver names those of tests/cuda, whatever library asks.
    simulated = [name for name, *_ in devices if name.startswith("Fake")]
    if simulated:
        raise OptionError(
            f"--device cuda: {simulated[0]!r} is a simulation for tests; its times would say "
            "nothing about any GPU"
        )


def _installed(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
