"""What calls on GPU arrays come after, and what comes after them. Run by tests/test_gpu_arrays.py.

A stream that is held does not get on; what comes after it cannot be over. No array may go
meanwhile: to free memory is to wait for all streams.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from device_arrays import (
    DeviceArray,
    DLPackArray,
    InterfaceArray,
    OldDLPackArray,
    OldInterfaceArray,
)
from fake_driver import BLOCKING, LEGACY_STREAM, STREAM_OF_THREAD, Stream

import pycoll


class LikeTorch(OldInterfaceArray, DLPackArray):
    """The interface says nothing of streams; DLPack does."""


@pytest.fixture(scope="module")
def comm() -> pycoll.Communicator:
    """Return one that has all it needs of the GPU: to get memory may be to wait for all streams."""
    made = pycoll.Communicator()
    made.all_gather(InterfaceArray.empty(3), InterfaceArray.empty(3 * made.size))
    return made


@pytest.fixture(scope="module")
def stream() -> Stream:
    return Stream()


@pytest.fixture(scope="module")
def other() -> Stream:
    return Stream()


def gathered(comm: pycoll.Communicator) -> np.ndarray:
    return np.arange(comm.size, dtype=np.float32).repeat(3)


def own(comm: pycoll.Communicator) -> np.ndarray:
    return np.full(3, comm.rank, np.float32)


def is_held(work: pycoll.Work[Any]) -> bool:
    """Whether it is not over, however often it is helped along."""
    return not any(work.test() for _ in range(1000))


@pytest.mark.parametrize("kind", [InterfaceArray, DLPackArray, OldDLPackArray, LikeTorch])
def test_after_the_stream_of_the_array(
    comm: pycoll.Communicator, stream: Stream, kind: type[DeviceArray]
) -> None:
    """A call comes after what the library of the array has under way, on a stream of its own."""
    array = kind.empty(3, stream=stream.handle)
    with stream.held():
        array.assign(own(comm))
        work = comm.all_gather(array, async_op=True)
        assert is_held(work)
    np.testing.assert_array_equal(work.wait().to_host(), gathered(comm))


def test_after_the_default_stream(comm: pycoll.Communicator) -> None:
    """Libraries that cannot tell mean CUDA's default stream, which waits for blocking ones."""
    blocking = Stream(flags=BLOCKING)
    array = OldInterfaceArray.empty(3, stream=blocking.handle)
    out = OldInterfaceArray.empty(3 * comm.size, stream=LEGACY_STREAM)
    with blocking.held():
        array.assign(own(comm))
        work = comm.all_gather(array, out, async_op=True)
        assert is_held(work)
    np.testing.assert_array_equal(work.wait().to_host(), gathered(comm))


@pytest.mark.parametrize("number", [None, 0])
def test_after_the_default_stream_of_numba(comm: pycoll.Communicator, number: int | None) -> None:
    """Numba says None of its default stream, which is CUDA's; 0 is the same one."""
    blocking = Stream(flags=BLOCKING)
    array = InterfaceArray.empty(3, stream=blocking.handle)
    out = InterfaceArray.empty(3 * comm.size, stream=LEGACY_STREAM)
    with blocking.held():
        array.assign(own(comm))
        array.stream = number
        work = comm.all_gather(array, out, async_op=True)
        assert is_held(work)
    np.testing.assert_array_equal(work.wait().to_host(), gathered(comm))


def test_what_numba_has_under_way(comm: pycoll.Communicator) -> None:
    """Copies that the default stream has not made yet when the call comes."""
    values = np.arange(1 << 16, dtype=np.float32)
    arrays = [InterfaceArray.empty(values.size) for _ in range(10)]
    out = InterfaceArray.empty(comm.size * values.size)
    for i, array in enumerate(arrays):
        array.assign(values + i)
        comm.all_gather(array, out)
        np.testing.assert_array_equal(out.to_host(), np.tile(values + i, comm.size))


def test_other_streams_do_not_count(comm: pycoll.Communicator, stream: Stream) -> None:
    """A call waits for what its array's library names, and for nothing else on the GPU."""
    array = InterfaceArray.from_host(own(comm))
    out = InterfaceArray.empty(3 * comm.size)
    with stream.held():
        comm.all_gather(array, out)
        np.testing.assert_array_equal(out.to_host(), gathered(comm))


class Property:
    """The protocol as its first libraries had it."""

    def __init__(self, handle: int) -> None:
        self.__cuda_stream__ = (0, handle)


@pytest.mark.parametrize(
    "form",
    [
        lambda stream: stream,
        lambda stream: stream.handle,
        lambda stream: np.uint64(stream.handle),
        lambda stream: Property(stream.handle),
        lambda stream: SimpleNamespace(ptr=stream.handle),
        lambda stream: SimpleNamespace(cuda_stream=stream.handle),
        lambda stream: SimpleNamespace(handle=ctypes.c_void_p(stream.handle)),
    ],
    ids=["protocol", "int", "numpy", "property", "cupy", "torch", "numba"],
)
@pytest.mark.parametrize("kind", [InterfaceArray, DLPackArray])
def test_after_a_named_stream(
    comm: pycoll.Communicator,
    stream: Stream,
    other: Stream,
    kind: type[DeviceArray],
    form: Callable[[Stream], object],
) -> None:
    """A stream of any library; then that of the array does not count."""
    array = kind.empty(3, stream=stream.handle)
    out = kind.empty(3 * comm.size, stream=other.handle)
    with stream.held():
        array.assign(own(comm))
        array.stream = other.handle
        work = comm.all_gather(array, out, stream=form(stream), async_op=True)
        assert is_held(work)
    np.testing.assert_array_equal(work.wait().to_host(), gathered(comm))
    with other.held():
        np.testing.assert_array_equal(
            comm.all_gather(array, out, stream=form(stream)).to_host(stream.handle), gathered(comm)
        )


@pytest.mark.parametrize(
    "default",
    [0, LEGACY_STREAM, STREAM_OF_THREAD, SimpleNamespace(handle=ctypes.c_void_p(0))],
    ids=["null", "legacy", "per thread", "numba's null"],
)
def test_default_streams_by_name(comm: pycoll.Communicator, default: object) -> None:
    """0, 1 and 2 are streams that blocking ones hold up."""
    blocking = Stream(flags=BLOCKING)
    array = InterfaceArray.empty(3, stream=blocking.handle)
    out = InterfaceArray.empty(3 * comm.size)
    if default == STREAM_OF_THREAD:
        # It goes its own way.
        array.assign(own(comm))
        blocking.synchronize()
        comm.all_gather(array, out, stream=default)
    else:
        with blocking.held():
            array.assign(own(comm))
            work = comm.all_gather(array, out, stream=default, async_op=True)
            assert is_held(work)
        work.wait()
    np.testing.assert_array_equal(out.to_host(), gathered(comm))


def test_new_arrays_come_after_their_own_stream(
    comm: pycoll.Communicator, stream: Stream, other: Stream
) -> None:
    """Their library may have used the memory until now, whatever stream the caller names."""
    array = InterfaceArray.from_host(own(comm), stream=other.handle)
    other.synchronize()
    array.stream = stream.handle
    out = InterfaceArray.empty(3 * comm.size)
    with stream.held():
        comm.all_gather(array, out, stream=other)
        np.testing.assert_array_equal(out.to_host(), gathered(comm))
        work = comm.all_gather(array, stream=other, async_op=True)
        assert is_held(work)
    np.testing.assert_array_equal(work.wait().to_host(), gathered(comm))


def test_streams_wait_for_works(comm: pycoll.Communicator, stream: Stream, other: Stream) -> None:
    """The host goes on at once, and what it puts on the stream sees the result."""
    array = InterfaceArray.empty(3, stream=stream.handle)
    out = InterfaceArray.empty(3 * comm.size, stream=other.handle)
    with stream.held():
        array.assign(own(comm))
        work = comm.all_gather(array, out, async_op=True)
        assert work.wait(stream=other) is out
    np.testing.assert_array_equal(out.to_host(other.handle), gathered(comm))
    assert work.synchronize() is out
    assert work.wait(stream=other) is out


def test_messages_take_streams(comm: pycoll.Communicator, stream: Stream, other: Stream) -> None:
    """Send and receive as collectives do."""
    array = InterfaceArray.empty(3, stream=stream.handle)
    arrived = InterfaceArray.empty(3, stream=other.handle)
    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    with stream.held():
        array.assign(own(comm))
        sent = comm.send(array, right, stream=stream, async_op=True)
        assert is_held(sent)
        received = comm.recv(arrived, left, stream=other, async_op=True)
        received.wait(stream=other)
    np.testing.assert_array_equal(arrived.to_host(other.handle), np.full(3, left))
    sent.wait()


def test_what_streams_are_refused(comm: pycoll.Communicator, stream: Stream) -> None:
    """What is no stream, and any stream of arrays on the host."""
    array = InterfaceArray.from_host(own(comm), stream=LEGACY_STREAM)
    for wrong in ("default", 1.5, object(), SimpleNamespace(handle="x")):
        with pytest.raises(
            TypeError, match=f"^rank {comm.rank}: broadcast: 'stream' is a .*; pass"
        ):
            comm.broadcast(array, stream=wrong)
    for wrong in (-1, 2**70):
        with pytest.raises(ValueError, match=f"'stream' is {wrong}; pass the pointer of a CUDA"):
            comm.send(array, (comm.rank + 1) % comm.size, stream=wrong)
    with pytest.raises(TypeError, match="'stream' is for arrays on a GPU, and 'array' is on the h"):
        comm.all_reduce(own(comm), stream=stream)
    with pytest.raises(TypeError, match="recv: 'stream' is for arrays on a GPU"):
        comm.recv(own(comm), (comm.rank + 1) % comm.size, stream=1)
    work = comm.all_gather(own(comm), async_op=True)
    with pytest.raises(TypeError, match="'stream' is for operations on a GPU, and the arrays of"):
        work.wait(stream=stream)
    with pytest.raises(ValueError, match="'timeout' is how long the host waits, and with 'stream'"):
        work.wait(1, stream=stream)
    work.wait()


def test_graphs_are_not_captured(comm: pycoll.Communicator, stream: Stream) -> None:
    """Neither before a call nor after it; the communicator can still be used."""
    array = InterfaceArray.from_host(own(comm), stream=LEGACY_STREAM)
    reason = r"is being captured into a CUDA graph \(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED\)"
    work = comm.all_gather(array, async_op=True)
    out = work.wait()
    with stream.captured():
        with pytest.raises(
            pycoll.CudaError, match=f"rank {comm.rank}: broadcast: 'stream' {reason}"
        ):
            comm.broadcast(array, stream=stream)
        with pytest.raises(pycoll.CudaError, match=f"wait: 'stream' {reason}"):
            work.wait(stream=stream)
        array.stream = stream.handle
        with pytest.raises(pycoll.CudaError, match=f"the stream that 'array' comes after {reason}"):
            comm.all_gather(array, out)
        with pytest.raises(pycoll.CudaError, match=f"send: 'stream' {reason}"):
            comm.send(array, (comm.rank + 1) % comm.size, stream=stream)
    np.testing.assert_array_equal(comm.all_gather(array).to_host(), gathered(comm))
    assert issubclass(pycoll.CudaError, pycoll.CollectiveError)
