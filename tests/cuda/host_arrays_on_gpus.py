"""Runs the calls of tests for arrays on the host on fake GPUs, without the tests' knowing.

``install()`` puts a class in the place of the native communicator that copies the NumPy arrays of
each call to a GPU, makes the call with the arrays there, and copies what is in them back when it is
over. Arrays overlap there as they do here, and begin as far from round addresses. Calls take turns
between the protocols and registered memory; what is registered here is registered there.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from device_arrays import DeviceArray, DLPackArray, InterfaceArray, Memory
from fake_driver import Stream, call, current
from mpi4py import MPI
from numpy.typing import NDArray

from pycoll import _core

Array = NDArray[Any]

#: Device memory is aligned to more than any kernel looks at; arrays are as odd as on the host.
ALIGNMENT = 64
SMALLEST = 4096

_NativeCommunicator = _core.Communicator
_native_wait_some = _core.wait_some
_of_thread = threading.local()


class Pool:
    """Memory of GPUs that is used again: to free some would be to wait for all streams."""

    def __init__(self) -> None:
        self._free: defaultdict[tuple[int, int], list[Memory]] = defaultdict(list)

    def take(self, nbytes: int, gpu: int) -> Memory:
        rounded = max(SMALLEST, 1 << (nbytes - 1).bit_length())
        free = self._free[rounded, gpu]
        try:
            return free.pop()
        except IndexError:
            return Memory(rounded, gpu)

    def give_back(self, memory: Memory) -> None:
        self._free[memory.nbytes, memory.device].append(memory)

    def clear(self) -> None:
        self._free.clear()


pool = Pool()


class RegisteredMemory(Memory):
    """What ``comm.empty(device="cuda")`` has."""

    def __init__(self, nbytes: int, device: int) -> None:
        self.device = device
        self.nbytes = nbytes
        self._memory = _core.allocate_on_gpu(device, nbytes)
        self.pointer = self._memory.pointer


def stream_of_thread(gpu: int) -> Stream:
    """Return the stream that a thread puts its copies on, as a program's own work would be."""
    streams: dict[int, Stream] = _of_thread.__dict__.setdefault("streams", {})
    if gpu not in streams:
        streams[gpu] = Stream(gpu)
        weakref.finalize(streams[gpu], _destroy, streams[gpu].handle, gpu).atexit = False
    return streams[gpu]


def _destroy(handle: int, gpu: int) -> None:
    with current(gpu):
        call("cuStreamDestroy_v2", handle)


def forget() -> None:
    """Give back all memory that is kept, and the stream of this thread."""
    pool.clear()
    _of_thread.__dict__.clear()


def _begin(array: Array) -> int:
    return int(array.ctypes.data)


def _end(array: Array) -> int:
    return _begin(array) + array.nbytes


def _bytes_at(address: int, nbytes: int) -> NDArray[np.uint8]:
    return np.ctypeslib.as_array((ctypes.c_ubyte * nbytes).from_address(address))


class Block:
    """Arrays of the host that overlap, or one alone, and their copy on a GPU."""

    def __init__(self, arrays: list[Array], gpu: int, *, registered: bool) -> None:
        self._arrays = arrays
        self._begin = min(map(_begin, arrays))
        self._nbytes = max(map(_end, arrays)) - self._begin
        self._shift = self._begin % ALIGNMENT
        self._shift -= self._shift % arrays[0].itemsize  # others than GPUs take what is odder
        needed = self._nbytes + self._shift
        self._memory = RegisteredMemory(needed, gpu) if registered else pool.take(needed, gpu)
        self._gpu = gpu
        self._copy(self._memory.pointer + self._shift, self._begin)

    def _copy(self, target: int, source: int) -> None:
        with current(self._gpu):
            stream = stream_of_thread(self._gpu).handle
            call("cuMemcpyAsync", target, source, self._nbytes, stream)

    def array(self, array: Array, kind: type[DeviceArray]) -> DeviceArray:
        """Return what stands for an array of the host."""
        offset = self._shift + _begin(array) - self._begin
        stream = stream_of_thread(self._gpu).handle
        return kind(self._memory, offset, array.shape, array.strides, array.dtype, stream)

    def land(self) -> None:
        """Copy everything back; nothing may have come into arrays that are not to be written."""
        found = np.empty(self._nbytes, np.uint8)
        self._copy(found.ctypes.data, self._memory.pointer + self._shift)
        for array in self._arrays:
            part = found[_begin(array) - self._begin :][: array.nbytes]
            here = _bytes_at(_begin(array), array.nbytes)
            if array.flags.writeable:
                here[:] = part
            else:
                assert np.array_equal(here, part), "a read-only array has been written to"
        if type(self._memory) is Memory:
            pool.give_back(self._memory)


class Placed:
    """The arrays of one call, on a GPU."""

    def __init__(self, arrays: Sequence[Array | None], gpu: int, number: int) -> None:
        # One object here is one there.
        self._here = {id(array): array for array in arrays if array is not None}
        filled = [array for array in self._here.values() if array.nbytes > 0]
        kind = (InterfaceArray, DLPackArray)[number % 2]
        overlap = len(filled) == 2 and max(map(_begin, filled)) < min(map(_end, filled))
        self._blocks: list[Block] = []
        made: dict[int, DeviceArray] = {}
        for group in [filled] if overlap else [[array] for array in filled]:
            registered = number % 3 == 2 or any(map(_core.is_registered, group))
            block = Block(group, gpu, registered=registered)
            self._blocks.append(block)
            made.update((id(array), block.array(array, kind)) for array in group)
        for array in self._here.values():
            if array.nbytes == 0:
                # By DLPack, which says also of nothing which GPU it is on.
                made[id(array)] = DLPackArray.empty(array.shape, array.dtype, device=gpu)
            made[id(array)].is_read_only = not array.flags.writeable
        self.arrays = [None if array is None else made[id(array)] for array in arrays]

    def land(self) -> None:
        for block in self._blocks:
            block.land()


class WorkOnGpu:
    """A native Work whose arrays come back when somebody has seen that it is over."""

    def __init__(self, native: Any, placed: Placed, gpu: int, under_way: set[WorkOnGpu]) -> None:
        self._native = native
        self._placed: Placed | None = placed
        self._gpu = gpu
        self._under_way = under_way
        under_way.add(self)

    def wait(self, timeout: float | None = None) -> None:
        if timeout is None and len(self._under_way) % 2 == 1:
            # The copies come after it on their stream, whenever the host gets here.
            self._native.order(stream_of_thread(self._gpu).handle)
            self.land()
        self._native.wait(timeout)
        self.land()

    def test(self) -> bool:
        is_over: bool = self._native.test()
        if is_over:
            self.land()
        return is_over

    def land(self) -> None:
        placed, self._placed = self._placed, None
        if placed is not None:
            placed.land()
            self._under_way.discard(self)


class CommunicatorOnGpu:
    """A native communicator, of which the calls with NumPy arrays are made on a GPU."""

    #: All that are in use.
    all: ClassVar[weakref.WeakSet[CommunicatorOnGpu]] = weakref.WeakSet()
    _numbers = itertools.count()

    def __init__(self, *args: Any, **options: Any) -> None:
        self._native = _NativeCommunicator(*args, **options)
        self._call = self._native.calls(lambda work, _: work)
        self._gpu = MPI.COMM_WORLD.rank % len(_core.cuda_devices())
        self._calls = itertools.count()
        self._under_way: set[WorkOnGpu] = set()
        self.number = next(self._numbers)
        self.all.add(self)
        # The first call on GPUs waits for all ranks, also with async_op. Tests must not see that.
        self._call_with_nothing("broadcast")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def _place(self, *arrays: Any) -> Placed | None:
        """Copy the arrays of a call to the GPU; None where it is not about any."""
        there = [array for array in arrays if array is not None]
        if not there or not all(map(_can_be_placed, there)):
            return None
        return Placed(arrays, self._gpu, next(self._calls))

    @contextlib.contextmanager
    def _settling(self) -> Iterator[None]:
        """Wait for the copies to the GPU, should the call be refused: then nobody else does."""
        try:
            yield
        except Exception:
            stream_of_thread(self._gpu).synchronize()
            raise

    def calls(self, work_type: type) -> Callable[..., Any]:
        def call(collective: str, array: Any, out: Any, result: Any, **options: Any) -> Any:
            placed = self._place(array, out)
            if placed is None:
                work = self._call(collective, array, out, None, **options)
                return result if work is None else work_type(work, result)
            with self._settling():
                work = self._call(collective, *placed.arrays, None, **options)
            if work is not None:
                return work_type(WorkOnGpu(work, placed, self._gpu, self._under_way), result)
            placed.land()
            return result

        return call

    def send(self, array: Any, peer: int, tag: int, stream: Any) -> Any:
        return self._message("send", array, peer, tag, stream)

    def recv(self, array: Any, peer: int, tag: int, stream: Any) -> Any:
        return self._message("recv", array, peer, tag, stream)

    def _message(self, function: str, array: Any, peer: int, tag: int, stream: Any) -> Any:
        placed = self._place(array)
        make = getattr(self._native, function)
        if placed is None:
            return make(array, peer, tag, stream)
        with self._settling():
            work = make(placed.arrays[0], peer, tag, stream)
        return WorkOnGpu(work, placed, self._gpu, self._under_way)

    def _call_with_nothing(
        self, collective: str, dtype: str = "uint8", root: int = 0, algorithm: str = "auto"
    ) -> None:
        nothing = DLPackArray.empty(0, dtype, device=self._gpu)
        self._call(collective, nothing, nothing, None, root=root, algorithm=algorithm)

    def chosen(
        self, collective: str, count: int, dtype: str, root: int = 0, algorithm: str = "auto"
    ) -> None:
        """Try an algorithm: which can be used on GPUs, no function says before a call is made."""
        if collective == "barrier":
            self._native.chosen(collective, count, dtype, root, algorithm)
            return
        self._call_with_nothing(collective, dtype, root, algorithm)

    def close(self) -> None:
        self._native.close()
        for work in list(self._under_way):
            work.land()


def _can_be_placed(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.flags.c_contiguous


def wait_some(works: Sequence[Any], timeout: float | None) -> list[int]:
    """Wait for works of either kind."""
    over = _native_wait_some([getattr(work, "_native", work) for work in works], timeout)
    for place in over:
        if isinstance(works[place], WorkOnGpu):
            works[place].land()
    return over


def in_use() -> Iterator[CommunicatorOnGpu]:
    """All communicators there are, in the order in which they were made."""
    yield from sorted(CommunicatorOnGpu.all, key=lambda communicator: communicator.number)


def install() -> None:
    """From now on, all communicators that are made are of this kind."""
    _core.Communicator = CommunicatorOnGpu  # type: ignore[misc,assignment]
    _core.wait_some = wait_some
