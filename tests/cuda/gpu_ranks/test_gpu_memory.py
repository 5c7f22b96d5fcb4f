"""Registered memory of GPUs, as arrays. Run by tests/test_gpu_arrays.py."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from device_arrays import InterfaceArray
from dlpack_capsules import version
from fake_driver import BLOCKING, LEGACY_STREAM, Stream, call, current, failing, library

import pycoll
from pycoll import _core, arrays

OUT_OF_MEMORY = 2


@pytest.fixture(autouse=True)
def without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.fixture(scope="module")
def comm() -> pycoll.Communicator:
    return pycoll.Communicator()


def content(array: pycoll.DeviceArray) -> np.ndarray:
    """What is in an array that nothing works on, for the host to read and write."""
    address, _ = array.__cuda_array_interface__["data"]
    alias = library().fake_cuda_alias(address)
    memory = (ctypes.c_ubyte * array.nbytes).from_address(alias)
    return np.frombuffer(memory, array.dtype).reshape(array.shape)


class OnlyDLPack:
    """A DeviceArray by that protocol alone."""

    def __init__(self, array: pycoll.DeviceArray, *, versioned: bool) -> None:
        self.array = array
        self.versioned = versioned

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> object:
        if "max_version" in options and not self.versioned:
            raise TypeError("unexpected keyword argument 'max_version'")
        return self.array.__dlpack__(**options)


def test_arrays_of_registered_memory(comm: pycoll.Communicator) -> None:
    """They go into collectives and come out; results that are larger are made the same way."""
    array = comm.zeros((4, 3), device="cuda")
    content(array)[1:3] = comm.rank + 1
    gathered = comm.all_gather(array[1:3])
    assert isinstance(gathered, pycoll.DeviceArray)
    assert gathered.shape == (2 * comm.size, 3)
    np.testing.assert_array_equal(content(gathered)[:, 0], np.arange(comm.size).repeat(2) + 1)
    assert not content(array)[[0, 3]].any()
    assert repr(array) == f"<pycoll.DeviceArray (4, 3) of float32 on GPU {array.gpu}>"


@pytest.mark.parametrize("name", _core.DTYPE_SIZES)
@pytest.mark.parametrize("versioned", [True, False])
def test_dlpack_of_all_dtypes(comm: pycoll.Communicator, name: str, versioned: bool) -> None:
    """What DLPack tells of an array is what it is."""
    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    array = comm.zeros(4, dtype, device="cuda")
    content(array)[1:] = np.asarray([1, 0, 1]).astype(dtype)
    out = array.new_empty((3 * comm.size,))
    comm.all_gather(OnlyDLPack(array[1:], versioned=versioned), out)
    np.testing.assert_array_equal(content(out), np.tile(np.array([1, 0, 1], dtype), comm.size))


def test_the_version_of_an_export(comm: pycoll.Communicator) -> None:
    """It is at the beginning of the structure, and no higher than the consumer knows."""
    capsule = comm.empty(4, device="cuda").__dlpack__(max_version=(1, 2))
    assert version(capsule) == (1, 0)


#: Elements of which an arena of the heap (64 MiB) has room for once: the memory of another array
#: must be taken again, or there is more of it.
MANY = 9 << 20


def address(array: pycoll.DeviceArray) -> int:
    return int(array.__cuda_array_interface__["data"][0])


def overlaps(array: pycoll.DeviceArray, other: int) -> bool:
    """Whether it lies on memory of another array of so many elements, which began there."""
    return abs(address(array) - other) < 4 * MANY


def test_exports_keep_the_memory(comm: pycoll.Communicator) -> None:
    """Memory is handed out again when nobody holds it, and not before."""
    first = comm.empty(MANY, device="cuda")
    used = address(first)
    del first
    second = comm.empty(MANY, device="cuda")
    assert overlaps(second, used)
    used = address(second)
    capsules = [second[10:].__dlpack__(max_version=version) for version in (None, (1, 1))]
    del second
    for _ in range(2):
        third = comm.empty(MANY, device="cuda")
        assert not overlaps(third, used)
        del third
        capsules.pop()
    assert overlaps(comm.empty(MANY, device="cuda"), used)


def test_zeros_are_zero(comm: pycoll.Communicator) -> None:
    """Also where something else was."""
    arrays = [comm.empty(MANY, "int32", device="cuda") for _ in range(3)]
    used = [address(array) for array in arrays]
    for array in arrays:
        content(array)[:] = 7
    del arrays, array
    array = comm.zeros(MANY, "int32", device="cuda")
    assert any(overlaps(array, other) for other in used)
    assert not content(array).any()


def test_nothing(comm: pycoll.Communicator) -> None:
    """No elements take no memory."""
    array = comm.zeros((0, 3), device="cuda")
    assert array.__cuda_array_interface__["data"] == (0, False)
    assert comm.all_gather(array).shape == (0, 3)
    assert comm.all_gather(OnlyDLPack(array, versioned=True), array) is array


def test_exports_are_ordered(comm: pycoll.Communicator) -> None:
    """Whoever takes an array comes after what is on the default stream, which is its own."""
    array = comm.empty(3, device="cuda")
    address, _ = array.__cuda_array_interface__["data"]
    blocking, consumer = Stream(flags=BLOCKING), Stream()
    found = np.empty(3, np.float32)
    with blocking.held(), current(array.gpu):
        call("cuMemsetD8Async", address, 0, array.nbytes, LEGACY_STREAM)
        for unordered in (-1, None):
            array.__dlpack__(stream=unordered)
        consumer.synchronize()
        array.__dlpack__(stream=consumer.handle)
    with current(array.gpu):  # a race, unless it comes after
        call("cuMemcpyAsync", found.ctypes.data, address, array.nbytes, consumer.handle)
    consumer.synchronize()
    assert not found.any()
    assert array.__cuda_array_interface__["stream"] == LEGACY_STREAM


def test_what_an_array_refuses(comm: pycoll.Communicator) -> None:
    """Copies on export, and all but consecutive rows."""
    array = comm.empty((4, 2), device="cuda")
    for options in ({"copy": True}, {"dl_device": (1, 0)}):
        with pytest.raises(BufferError, match="exported without a copy, on the GPU it lies on"):
            array.__dlpack__(**options)
    array.__dlpack__(copy=False, dl_device=array.__dlpack_device__())
    with pytest.raises(ValueError, match="the step is 2; a DeviceArray takes consecutive rows"):
        array[::2]
    with pytest.raises(TypeError, match="the index is 1; a DeviceArray takes slices of rows only"):
        array[1]
    assert (len(array), array[3:1].shape, array[-1:].shape) == (4, (0, 2), (1, 2))
    for dtype in ("complex64", ">f4"):
        with pytest.raises(TypeError, match=r"empty: 'dtype' is .*; without CuPy"):
            comm.empty(3, dtype, device="cuda")


def test_which_gpu_is_meant() -> None:
    """That of the communicator, or else the current one of the thread, or else by local rank."""
    fresh = pycoll.Communicator()
    assert fresh.empty(3, device="cuda").gpu == fresh.local_rank % 2
    with current(1):
        assert fresh.empty(3, device="cuda").gpu == 1
        assert fresh.zeros(3, device="cuda:0").gpu == 0
    fresh.broadcast(fresh.zeros(3, device="cuda:1"))
    assert fresh.empty(3, device="cuda").gpu == 1
    for wrong in ("gpu", "cuda:", "cuda:x", "cuda:2"):
        with pytest.raises(ValueError, match=f"empty: 'device' is .*{wrong.removeprefix('cuda:')}"):
            fresh.empty(3, device=wrong)


def test_no_memory_left(comm: pycoll.Communicator) -> None:
    """CUDA's own name of the error is in it, and the next one that fits is there."""
    with (
        failing("cuMemAlloc_v2", 1, OUT_OF_MEMORY, times=2),
        pytest.raises(
            pycoll.CudaError, match=f"^rank {comm.rank}: zeros: .*CUDA_ERROR_OUT_OF_MEMORY"
        ),
    ):
        comm.zeros(2**28, device="cuda")  # larger than what is kept
    comm.zeros(3, device="cuda")


class CupyArray(SimpleNamespace):
    """What there is to see of one."""


CupyArray.__module__ = "cupy._core.core"


def fake_cupy() -> ModuleType:
    """Return the few functions of CuPy that pycoll calls, with CuPy's parameters."""
    module = ModuleType("cupy")

    class Device:
        current: int | None = None

        def __init__(self, ordinal: int) -> None:
            self.id = ordinal

        def __enter__(self) -> None:
            Device.current = self.id

        def __exit__(self, *_: object) -> None:
            Device.current = None

    def make(shape: Any, dtype: Any = float, memptr: Any = None) -> CupyArray:
        return CupyArray(
            shape=shape,
            dtype=np.dtype(dtype),
            memory=memptr,
            device=Device(Device.current or 0),
            __cuda_array_interface__={"shape": shape},
        )

    module.empty = module.ndarray = make
    module.cuda = SimpleNamespace(
        Device=Device,
        UnownedMemory=lambda ptr, size, owner, device_id: (ptr, size, owner, device_id),
        MemoryPointer=lambda memory, offset: (memory, offset),
    )
    return module


def test_arrays_of_cupy(comm: pycoll.Communicator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where CuPy is installed, arrays are its own, of the right GPU, and keep the memory."""
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
    array = comm.empty((2, 3), "int16", device="cuda:1")
    (pointer, size, owner, device), offset = array.memory
    assert (array.shape, array.dtype, array.device.id) == ((2, 3), np.int16, 1)
    assert (pointer, size, device, offset) == (owner.pointer, 12, owner.gpu, 0)
    like = arrays.empty_like(array, 5)
    assert (type(like), like.shape, like.dtype, like.device.id) == (CupyArray, (5, 3), np.int16, 1)
    assert comm.empty(0, device="cuda:1").memory is None


def test_new_arrays_of_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are made as its users make them, on the GPU of the array, whichever is current."""
    made: list[tuple[Any, ...]] = []
    on: list[int] = []

    class Gpus:
        def __getitem__(self, ordinal: int) -> Any:
            return contextlib.nullcontext(on.append(ordinal))

    monkeypatch.setitem(sys.modules, "numba", ModuleType("numba"))
    sys.modules["numba"].cuda = SimpleNamespace(
        gpus=Gpus(), device_array=lambda *args: made.append(args)
    )
    array_type = type("DeviceNDArray", (SimpleNamespace,), {"__module__": "numba.cuda.cudadrv"})
    memory = InterfaceArray.empty(6, np.uint8, device=1)
    for address in (memory.pointer, 0):
        interface = {"data": (address, False)}
        array = array_type(shape=(2, 3), dtype=np.dtype("u1"), __cuda_array_interface__=interface)
        arrays.empty_like(array, 4)
    assert made == [((4, 3), np.dtype("u1"))] * 2
    assert on == [1]
