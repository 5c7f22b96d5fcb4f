"""A stand-in for CuPy: arrays that the host must not touch by accident.

Like CuPy's, they refuse to become NumPy arrays, and to meet them in an operation or an assignment.
They hold host memory, so that what they compute can be compared with what NumPy does.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    def __init__(self, host: np.ndarray) -> None:
        self.host = host

    def get(self) -> np.ndarray:
        return self.host.copy()

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return on_device(getattr(ufunc, method))(*inputs, **options)

    def __getattr__(self, name: str) -> Any:
        if name in {"shape", "dtype", "ndim", "size", "nbytes"}:
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

    def __init__(self, devices: int = 1) -> None:
        super().__init__("cupy")
        self.used: list[int] = []

        def count() -> int:
            if devices == 0:
                raise CUDARuntimeError("cudaErrorNoDevice")
            return devices

        runtime = SimpleNamespace(getDeviceCount=count, CUDARuntimeError=CUDARuntimeError)
        device = lambda number: SimpleNamespace(use=lambda: self.used.append(number))  # noqa: E731
        self.cuda = SimpleNamespace(runtime=runtime, Device=device)

    @staticmethod
    def asarray(value: Any) -> DeviceArray:
        return value if isinstance(value, DeviceArray) else DeviceArray(np.array(value))

    def __getattr__(self, name: str) -> Any:
        return on_device(getattr(np, name))
