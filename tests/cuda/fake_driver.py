"""The fake NVIDIA driver as tests in Python call it: contexts, memory, streams, and its controls.

For processes that run in ``fake_gpu.environment()``.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint32, c_uint64, c_void_p

BLOCKING, NON_BLOCKING = 0, 1
LEGACY_STREAM, STREAM_OF_THREAD = 1, 2

_SIGNATURES: dict[str, list[type]] = {
    "cuInit": [c_uint],
    "cuDevicePrimaryCtxRetain": [POINTER(c_void_p), c_int],
    "cuCtxPushCurrent_v2": [c_void_p],
    "cuCtxPopCurrent_v2": [POINTER(c_void_p)],
    "cuCtxSynchronize": [],
    "cuMemAlloc_v2": [POINTER(c_uint64), c_size_t],
    "cuMemFree_v2": [c_uint64],
    "cuMemHostAlloc": [POINTER(c_void_p), c_size_t, c_uint],
    "cuMemFreeHost": [c_void_p],
    "cuMemcpyAsync": [c_uint64, c_uint64, c_size_t, c_void_p],
    "cuMemsetD8Async": [c_uint64, ctypes.c_ubyte, c_size_t, c_void_p],
    "cuStreamCreateWithPriority": [POINTER(c_void_p), c_uint, c_int],
    "cuStreamDestroy_v2": [c_void_p],
    "cuStreamSynchronize": [c_void_p],
    "cuStreamWaitEvent": [c_void_p, c_void_p, c_uint],
    "cuStreamWaitValue32_v2": [c_void_p, c_uint64, c_uint32, c_uint],
    "cuEventCreate": [POINTER(c_void_p), c_uint],
    "cuEventDestroy_v2": [c_void_p],
    "cuEventRecord": [c_void_p, c_void_p],
    "cuEventQuery": [c_void_p],
    "cuIpcGetMemHandle": [c_void_p, c_uint64],
}


class DriverError(RuntimeError):
    """A function of the driver returned an error."""

    def __init__(self, function: str, result: int) -> None:
        super().__init__(f"{function} returned {result}")
        self.result = result


@functools.cache
def library() -> ctypes.CDLL:
    """Return the driver, initialised."""
    cuda = ctypes.CDLL("libcuda.so.1")
    for name, parameters in _SIGNATURES.items():
        getattr(cuda, name).argtypes = parameters
    for name in ("fake_cuda_races", "fake_cuda_misuses", "fake_cuda_alive", "fake_cuda_calls"):
        getattr(cuda, name).restype = c_uint64
    cuda.fake_cuda_alias.argtypes = [c_void_p]
    cuda.fake_cuda_alias.restype = c_void_p
    cuda.fake_cuda_fail.argtypes = [c_char_p, c_uint64, c_int]
    cuda.fake_cuda_capture.argtypes = [c_void_p, c_int]
    if result := cuda.cuInit(0):
        raise DriverError("cuInit", result)
    return cuda


def call(function: str, *arguments: object) -> None:
    """Call a function of the driver; raise DriverError where it fails."""
    if result := getattr(library(), function)(*arguments):
        raise DriverError(function, result)


@functools.cache
def _context(device: int) -> c_void_p:
    context = c_void_p()
    call("cuDevicePrimaryCtxRetain", byref(context), device)
    return context


@contextlib.contextmanager
def current(device: int) -> Iterator[None]:
    """Make a GPU's context current for the block: it is none outside, as for most programs."""
    call("cuCtxPushCurrent_v2", _context(device))
    try:
        yield
    finally:
        call("cuCtxPopCurrent_v2", None)


def races() -> int:
    """Count the races found so far."""
    return int(library().fake_cuda_races())


def misuses() -> int:
    """Count what was done so far that CUDA leaves undefined."""
    return int(library().fake_cuda_misuses())


KINDS = (
    "allocations",
    "bytes",
    "pinned",
    "pinned_bytes",
    "mappings",
    "streams",
    "events",
    "modules",
)


def alive() -> dict[str, int]:
    """Count what has been made and not been freed, by kind."""
    return {kind: int(library().fake_cuda_alive(kind.encode())) for kind in KINDS}


def calls(function: str) -> int:
    """Count the calls of a function so far."""
    return int(library().fake_cuda_calls(function.encode()))


@contextlib.contextmanager
def failing(function: str, nth: int, code: int, times: int = 1) -> Iterator[None]:
    """Let the nth call from now on of a function of the driver fail, if it is in the block.

    And those after it, as many ``times`` in all: for memory pycoll may ask twice.
    ``"*"`` stands for any function, ``"kernel"`` for the kernels that are launched. After the
    block, contexts with an error that sticks (700, 716, 719) are as new.
    """
    for one in range(nth, nth + times):
        library().fake_cuda_fail(function.encode(), one, code)
    try:
        yield
    finally:
        library().fake_cuda_clear_failures()
        library().fake_cuda_repair()


@contextlib.contextmanager
def planted(names: str) -> Iterator[None]:
    """Plant bugs for the block: ``"drop_wait_event"``, ``"early_event:3"`` (every third), ..."""
    assert library().fake_cuda_plant(names.encode()), f"there is no bug {names!r}"
    try:
        yield
    finally:
        library().fake_cuda_plant(b"")


class Stream:
    """A stream of a GPU; ``handle`` is the number by which the driver knows it."""

    def __init__(self, device: int = 0, flags: int = NON_BLOCKING) -> None:
        self.device = device
        handle = c_void_p()
        with current(device):
            call("cuStreamCreateWithPriority", byref(handle), flags, 0)
        self.handle = handle.value or 0

    def __cuda_stream__(self) -> tuple[int, int]:
        """Follow NVIDIA's protocol: a version and the stream."""
        return (0, self.handle)

    def synchronize(self) -> None:
        """Wait until all that is on the stream is done."""
        with current(self.device):
            call("cuStreamSynchronize", self.handle)

    def is_idle(self) -> bool:
        """Say whether all that is on the stream is done."""
        with current(self.device), _event() as event:
            call("cuEventRecord", event, self.handle)
            return library().cuEventQuery(event) == 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep what comes next on the stream from starting before the end of the block."""
        word = c_void_p()
        with current(self.device):
            call("cuMemHostAlloc", byref(word), 4, 3)
            call("cuStreamWaitValue32_v2", self.handle, word.value, 1, 0)
        assert word.value is not None
        try:
            yield
        finally:
            ctypes.c_uint32.from_address(word.value).value = 1
            self.synchronize()
            with current(self.device):
                call("cuMemFreeHost", word)

    @contextlib.contextmanager
    def captured(self) -> Iterator[None]:
        """Record a graph of what is put on the stream in the block."""
        assert library().fake_cuda_capture(self.handle, 1)
        try:
            yield
        finally:
            library().fake_cuda_capture(self.handle, 0)

    def destroy(self) -> None:
        """Give the stream back. What is on it is still done."""
        with current(self.device):
            call("cuStreamDestroy_v2", self.handle)


@contextlib.contextmanager
def _event() -> Iterator[c_void_p]:
    event = c_void_p()
    call("cuEventCreate", byref(event), 2)
    try:
        yield event
    finally:
        call("cuEventDestroy_v2", event)


def order(first: int, then: int, device: int = 0) -> None:
    """Let what comes next on the stream ``then`` start after what is on ``first`` now."""
    with current(device), _event() as event:
        call("cuEventRecord", event, first)
        call("cuStreamWaitEvent", then, event, 0)
