"""A stand-in for CuPy: arrays that the host must not touch by accident.

Like CuPy's, they refuse to become NumPy arrays, and to meet them in an operation or an assignment.
What they compute can be compared with what NumPy does, bit by bit: it is NumPy that does it.

They lie in host memory, where pycoll takes them with `stand_in_gpu_calls`; or on a fake GPU, which
pycoll takes for a real one: see `FakeGpuMemory`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


class HostMemory:
    """Arrays stay where NumPy makes them, and pycoll knows no pointer to them."""

    def place(self, array: np.ndarray) -> np.ndarray:
        return array

    def pointer(self, array: np.ndarray) -> int | None:
        return None


#: Where all arrays lie.
memory: Any = HostMemory()


@contextlib.contextmanager
def arrays_in(other: Any) -> Iterator[None]:
    """Let arrays that are made in the block lie elsewhere."""
    global memory
    before, memory = memory, other
    try:
        yield
    finally:
        memory = before


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    def __init__(self, host: np.ndarray) -> None:
        self.host = memory.place(host)

    def get(self) -> np.ndarray:
        return self.host.copy()

    def set(self, values: np.ndarray) -> None:
        assert isinstance(values, np.ndarray)
        self.host[...] = values

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        pointer = memory.pointer(self.host)
        if pointer is None:
            raise AttributeError("there is no GPU")
        return {
            "shape": self.host.shape,
            "typestr": self.host.dtype.str,
            "data": (pointer, False),
            "strides": None if self.host.flags.c_contiguous else self.host.strides,
            "stream": None,  # all that the stand-in does is over when it returns
            "version": 3,
        }

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return on_device(getattr(ufunc, method))(*inputs, **options)

    def __getattr__(self, name: str) -> Any:
        if name in {"shape", "dtype", "ndim", "size", "nbytes", "itemsize", "flags"}:
            return getattr(self.host, name)
        if name.startswith("__"):  # such as __array_interface__, by which NumPy would get in
            raise AttributeError(name)
        attribute = getattr(self.host, name)
        return on_device(attribute) if callable(attribute) else wrapped(attribute)

    def __getitem__(self, index: Any) -> DeviceArray:
        return wrapped(self.host[unwrapped(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.host[unwrapped(index)] = unwrapped(value)

    def __len__(self) -> int:
        return len(self.host)

    def __float__(self) -> float:
        return float(self.host)


def wrapped(value: Any) -> Any:
    return DeviceArray(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value


def unwrapped(value: Any) -> Any:
    if isinstance(value, DeviceArray):
        return value.host
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, tuple | list):
        return type(value)(map(unwrapped, value))
    return value


def on_device(function: Any) -> Any:
    def call(*operands: Any, **options: Any) -> Any:
        out = options.get("out")
        values = {name: unwrapped(value) for name, value in options.items()}
        result = function(*map(unwrapped, operands), **values)
        if out is None:
            return wrapped(result)
        return out[0] if isinstance(out, tuple) else out

    return call


class CUDARuntimeError(RuntimeError):
    """What CuPy raises when the CUDA runtime refuses something."""


class StandInCuPy(ModuleType):
    """The module ``cupy`` with some GPUs.

    Attributes
    ----------
    used : list of int
        Devices that were made the current one.
    """

    def __init__(self, devices: int = 1, version: str = "14.2.0", name: str = "Fake GPU") -> None:
        super().__init__("cupy")
        self.__version__ = version
        self.used: list[int] = []

        def count() -> int:
            if devices == 0:
                raise CUDARuntimeError("cudaErrorNoDevice")
            return devices

        runtime = SimpleNamespace(
            getDeviceCount=count,
            CUDARuntimeError=CUDARuntimeError,
            getDeviceProperties=lambda number: {"name": f"{name} {number}".encode()},
        )
        used = self.used

        class Device(contextlib.AbstractContextManager["Device"]):
            def __init__(self, number: int) -> None:
                self.number = number

            def use(self) -> None:
                used.append(self.number)

            def __exit__(self, *_: object) -> None:
                pass

        self.cuda = SimpleNamespace(
            runtime=runtime,
            Device=Device,
            Event=Event,
            get_elapsed_time=lambda first, last: 1e3 * (last.at - first.at),
            UnownedMemory=lambda pointer, nbytes, owner, gpu: (pointer, owner),
            MemoryPointer=lambda block, offset: block,
        )

    @staticmethod
    def asarray(value: Any) -> DeviceArray:
        return value if isinstance(value, DeviceArray) else DeviceArray(np.array(value))

    @staticmethod
    def ndarray(shape: tuple[int, ...], dtype: Any, block: tuple[int, Any]) -> DeviceArray:
        """Make an array of memory that pycoll has allocated."""
        return DeviceArray(memory.view(*block, shape, np.dtype(dtype)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return on_device(getattr(np, name))


class Event:
    """A point in time."""

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        pass
