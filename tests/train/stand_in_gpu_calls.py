"""Calls of pycoll that take the arrays of `stand_in_cupy`, where there is no GPU.

As on a GPU, all arrays of a call must be on one device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from stand_in_cupy import DeviceArray, wrapped

import pycoll
from pycoll.calling import Caller
from pycoll.work import Work


class GpuWork:
    """A `Work` whose result is on the device."""

    def __init__(self, work: Work[Any], result: Any) -> None:
        self._native = work
        self._result = result

    def wait(self, timeout: float | None = None) -> Any:
        self._native.wait(timeout)
        return self._result

    def test(self) -> bool:
        return self._native.test()


@contextmanager
def device_arrays_accepted() -> Iterator[None]:
    """Let communicators take such arrays, and make them for ``device="cuda"``."""
    patched = {
        name: getattr(pycoll.Communicator, name) for name in ("send", "recv", "empty", "zeros")
    }
    try:
        for name in ("empty", "zeros"):
            setattr(pycoll.Communicator, name, _making(patched[name]))
        for name in ("send", "recv"):
            setattr(pycoll.Communicator, name, _calling(patched[name]))
        pycoll.Communicator._call = _Collectives()  # type: ignore[assignment]
        yield
    finally:
        del pycoll.Communicator._call
        for name, function in patched.items():
            setattr(pycoll.Communicator, name, function)


class _Collectives:
    """In front of the slot of the same name, which each communicator has."""

    def __get__(self, comm: Any, owner: type) -> Callable[..., Any]:
        slot = vars(Caller)["_call"]
        call = _calling(lambda _, *args, **options: slot.__get__(comm)(*args, **options))
        return lambda *arguments, **options: call(comm, *arguments, **options)

    def __set__(self, comm: Any, call: Callable[..., Any]) -> None:
        vars(Caller)["_call"].__set__(comm, call)


def _making(make: Callable[..., np.ndarray]) -> Callable[..., Any]:
    def making(comm: Any, shape: Any, dtype: Any = "float32", device: str = "cpu") -> Any:
        made = make(comm, shape, dtype)
        return made if device == "cpu" else wrapped(made)

    return making


def _calling(call: Callable[..., Any]) -> Callable[..., Any]:
    def calling(comm: Any, *arguments: Any, **options: Any) -> Any:
        on_device = [one for one in arguments if isinstance(one, DeviceArray)]
        if not on_device:
            return call(comm, *arguments, **options)
        if any(isinstance(one, np.ndarray) for one in arguments):
            raise TypeError("one array is on the host, another one on the GPU")
        host = [one.host if isinstance(one, DeviceArray) else one for one in arguments]
        given = call(comm, *host, **options)
        if isinstance(given, Work):
            return GpuWork(given, _same(given._result, on_device))
        return _same(given, on_device)

    return calling


def _same(result: Any, arrays: list[DeviceArray]) -> Any:
    return next((one for one in arrays if one.host is result), result)
