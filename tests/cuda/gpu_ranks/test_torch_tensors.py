"""Tensors of PyTorch, by a module that stands in for it. Run by tests/test_gpu_arrays.py."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from device_arrays import DeviceArray
from fake_driver import BLOCKING, LEGACY_STREAM, Stream

import pycoll
from pycoll import _core

STRIDED, SPARSE = "torch.strided", "torch.sparse_coo"


class Tensor:
    """What pycoll asks a tensor on a GPU for. Its protocols would spoil captures."""

    is_cuda = True

    def __init__(self, array: DeviceArray) -> None:
        self.array = array
        self.shape = array.shape
        self.dtype = f"torch.{array.dtype.name}"
        self.device = SimpleNamespace(index=array.device)
        self.layout = STRIDED
        self.requires_grad = False
        self.negative = False

    def data_ptr(self) -> int:
        return self.array.pointer

    def numel(self) -> int:
        return self.array.nbytes // self.array.dtype.itemsize

    def is_contiguous(self) -> bool:
        return self.array.is_contiguous

    def is_neg(self) -> bool:
        return self.negative

    def new_empty(self, shape: Sequence[int]) -> Tensor:
        return Tensor(self.array.new_empty(shape))

    def __dlpack__(self, **_: object) -> object:
        raise AssertionError("puts an event on a stream, and wants the tensor's GPU to be current")

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        raise AssertionError("knows no streams")


class Torch(ModuleType):
    """The module, with a current stream for each GPU."""

    Tensor = Tensor
    strided = STRIDED

    def __init__(self) -> None:
        super().__init__("torch")
        self.streams = {0: 0, 1: 0}  # PyTorch's number of the default stream
        self.cuda = SimpleNamespace(
            current_stream=lambda device: SimpleNamespace(cuda_stream=self.streams[device.index])
        )


@pytest.fixture(autouse=True)
def torch(monkeypatch: pytest.MonkeyPatch) -> Torch:
    module = Torch()
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


@pytest.fixture(scope="module")
def comm() -> pycoll.Communicator:
    made = pycoll.Communicator()
    array = DeviceArray.from_host(np.zeros(3, np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", Torch())
        made.all_gather(Tensor(array))
    return made


def own(comm: pycoll.Communicator, dtype: Any = np.float32) -> np.ndarray:
    return np.full(3, comm.rank).astype(dtype)


def gathered(comm: pycoll.Communicator, dtype: Any = np.float32) -> np.ndarray:
    return np.arange(comm.size).repeat(3).astype(dtype)


@pytest.mark.parametrize("name", _core.DTYPE_SIZES)
def test_dtypes(comm: pycoll.Communicator, name: str) -> None:
    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    out = comm.all_gather(Tensor(DeviceArray.from_host(own(comm, dtype))))
    assert isinstance(out, Tensor)
    np.testing.assert_array_equal(out.array.to_host(), gathered(comm, dtype))


def test_on_a_gpu_that_is_not_current(torch: Torch) -> None:
    """None is current here; the stream is the current one of the tensor's GPU."""
    comm = pycoll.Communicator()
    stream = Stream(device=1)
    torch.streams[1] = stream.handle
    array = DeviceArray.from_host(own(comm), device=1, stream=stream.handle)
    out = comm.all_gather(Tensor(array))
    np.testing.assert_array_equal(out.array.to_host(), gathered(comm))
    assert comm._core.gpu == 1


def test_streams(comm: pycoll.Communicator, torch: Torch) -> None:
    """After the current one, be it the default one, or the one that is named; after no other."""
    blocking, stream = Stream(flags=BLOCKING), Stream()
    array = DeviceArray.empty(3)
    out = Tensor(DeviceArray.empty(3 * comm.size))
    for current, held in ((0, blocking), (stream.handle, stream)):
        torch.streams[0] = current
        array.stream = held.handle
        with held.held():
            array.assign(own(comm))
            work = comm.all_gather(Tensor(array), out, async_op=True)
            assert not any(work.test() for _ in range(1000))
        work.wait()
        np.testing.assert_array_equal(out.array.to_host(), gathered(comm))
    with stream.held():
        comm.all_gather(Tensor(array), out, stream=LEGACY_STREAM)


def test_calls_on_several_streams_do_not_wait_for_each_other(
    comm: pycoll.Communicator, torch: Torch
) -> None:
    """The one whose stream gets on is over first."""
    other = pycoll.Communicator()
    held, free = Stream(), Stream()
    outs = [Tensor(DeviceArray.empty(3 * comm.size)) for _ in range(2)]
    array = Tensor(DeviceArray.from_host(own(comm)))
    other.all_gather(array, outs[1])
    with held.held():
        torch.streams[0] = held.handle
        work = comm.all_gather(array, outs[0], async_op=True)
        torch.streams[0] = free.handle
        other.all_gather(array, outs[1])
        assert not work.test()
    work.wait()


def test_captures_are_refused_and_go_on(comm: pycoll.Communicator, torch: Torch) -> None:
    """The call is refused, calls on other streams are not, and nothing is put on the captured."""
    stream = Stream()
    tensor = Tensor(DeviceArray.from_host(own(comm)))
    out = Tensor(DeviceArray.empty(3 * comm.size))
    with stream.captured():
        torch.streams[0] = stream.handle
        with pytest.raises(pycoll.CudaError, match="the stream that 'array' comes after is b"):
            comm.all_gather(tensor, out)
        torch.streams[0] = 0
        comm.all_gather(tensor, out)
    np.testing.assert_array_equal(out.array.to_host(), gathered(comm))


@pytest.mark.parametrize(
    ("attribute", "value", "error", "text"),
    [
        ("requires_grad", True, ValueError, r"requires gradients, .* use tensor.detach\(\)"),
        ("layout", SPARSE, TypeError, "has layout torch.sparse_coo; pass a dense tensor"),
        ("dtype", "torch.complex64", TypeError, "has dtype torch.complex64, which is not"),
        ("negative", True, ValueError, r"negative bit set; pass tensor.resolve_neg\(\)"),
        ("device", None, ValueError, "does not give its memory away: .*'index'"),
        ("requires_grad", "?", TypeError, "whose attributes are none of PyTorch's"),
    ],
)
def test_refused_tensors(
    comm: pycoll.Communicator, attribute: str, value: Any, error: type[Exception], text: str
) -> None:
    tensor = Tensor(DeviceArray.from_host(own(comm)))
    setattr(tensor, attribute, value)
    with pytest.raises(error, match=f"^rank {comm.rank}: broadcast: 'array' .*{text}"):
        comm.broadcast(tensor)


def test_parts_and_nothing(comm: pycoll.Communicator) -> None:
    array = DeviceArray.from_host(np.zeros(6, np.float32))
    comm.broadcast(Tensor(array[1:3]))
    comm.broadcast(Tensor(array[:0]))
    with pytest.raises(ValueError, match="'array' is not C-contiguous"):
        comm.broadcast(Tensor(array[::2]))
