"""What counts as an array on a GPU, and what is said of others. Run by tests/test_gpu_arrays.py."""

from __future__ import annotations

import mmap
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from device_arrays import (
    DeviceArray,
    DLPackArray,
    InterfaceArray,
    OldDLPackArray,
    OldInterfaceArray,
)
from dlpack_capsules import lent
from fake_driver import LEGACY_STREAM

import pycoll
from pycoll import _core


class LikeTorch(OldInterfaceArray, DLPackArray):
    """Both protocols, and no word of streams in the one."""


KINDS = [InterfaceArray, OldInterfaceArray, DLPackArray, OldDLPackArray, LikeTorch]


class Bare:
    """Nothing but the entries of an interface."""

    def __init__(self, array: InterfaceArray, **changed: object) -> None:
        entries = {**array.__cuda_array_interface__, **changed}
        self.__cuda_array_interface__ = {
            name: entry for name, entry in entries.items() if entry is not Ellipsis
        }
        self.array = array


def on_gpu(kind: type[DeviceArray], values: np.ndarray, device: int = 0) -> Any:
    """Copy to the default stream, and say so where the protocol lets it."""
    return kind.from_host(values, device=device, stream=LEGACY_STREAM)


@pytest.fixture(scope="module")
def comm() -> pycoll.Communicator:
    return pycoll.Communicator()


def numbers(comm: pycoll.Communicator, dtype: Any = np.float32) -> np.ndarray:
    return (np.arange(6) % 2 + comm.rank).astype(dtype).reshape(2, 3)


def all_numbers(comm: pycoll.Communicator, dtype: Any = np.float32) -> np.ndarray:
    return np.concatenate([(np.arange(6) % 2 + r).astype(dtype) for r in range(comm.size)]).reshape(
        -1, 3
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", _core.DTYPE_SIZES)
def test_protocols_and_dtypes(
    comm: pycoll.Communicator, kind: type[DeviceArray], name: str
) -> None:
    """Arrays go in and come out by each protocol, of each dtype; a new one is of the same kind."""
    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    array = on_gpu(kind, numbers(comm, dtype))
    out = comm.all_gather(array)
    assert type(out) is kind
    np.testing.assert_array_equal(out.to_host(), all_numbers(comm, dtype))


@pytest.mark.parametrize("kind", KINDS)
def test_parts_and_nothing(comm: pycoll.Communicator, kind: type[DeviceArray]) -> None:
    """Rows that lie one after the other are an array, and so are no rows."""
    whole = on_gpu(kind, np.zeros((2 + comm.size, 3), np.float32))
    comm.all_gather(on_gpu(kind, numbers(comm)[:1]), whole[1:-1])
    np.testing.assert_array_equal(whole.to_host()[1:-1], all_numbers(comm)[::2])
    empty = kind.empty((0, 3))
    assert comm.all_gather(empty, whole[:0]) is not None
    assert comm.all_gather(empty).shape == (0, 3)
    with pytest.raises(ValueError, match="all_gather: 'array' is not C-contiguous"):
        comm.all_gather(whole[::2])


def test_empty_arrays_are_on_the_gpu_of_the_communicator() -> None:
    """Where an interface does not say: there, or where the program is at work."""
    fresh = pycoll.Communicator()
    fresh.broadcast(InterfaceArray.empty((0,)))
    assert fresh._core.gpu == 0
    other = pycoll.Communicator()
    other.broadcast(on_gpu(InterfaceArray, np.zeros(3), device=1))
    other.broadcast(InterfaceArray.empty((0,)))
    assert other._core.gpu == 1


@pytest.mark.parametrize("kind", [InterfaceArray, OldInterfaceArray, DLPackArray, LikeTorch])
def test_read_only(comm: pycoll.Communicator, kind: type[DeviceArray]) -> None:
    """What is read only is read, and not written."""
    array = on_gpu(kind, numbers(comm)).read_only()
    np.testing.assert_array_equal(comm.all_gather(array).to_host(), all_numbers(comm))
    with pytest.raises(ValueError, match="'out' is read-only; pass a writable array"):
        comm.all_to_all(on_gpu(kind, numbers(comm)), array)


def test_immutable_arrays(comm: pycoll.Communicator) -> None:
    """JAX has the buffer protocol, shows nothing by it, and calls nothing read-only in DLPack."""

    class LikeJax(mmap.mmap):
        def __new__(cls, _: DLPackArray) -> LikeJax:
            made = mmap.mmap.__new__(cls, -1, 1)
            made.close()  # a closed mmap shows no buffer
            return made

        def __init__(self, array: DLPackArray) -> None:
            self.array = array
            self.shape = array.shape

        def __dlpack__(self, **options: Any) -> object:
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.array.__dlpack_device__()

    array = LikeJax(on_gpu(DLPackArray, numbers(comm)))
    out = DLPackArray.empty((2 * comm.size, 3))
    np.testing.assert_array_equal(comm.all_gather(array, out).to_host(), all_numbers(comm))
    with pytest.raises(ValueError, match="'array' is read-only"):
        comm.broadcast(array, root=comm.size - 1 if comm.rank == 0 else 0)
    with pytest.raises(TypeError, match="'out' is missing, and pycoll makes no LikeJax"):
        comm.all_gather(array)


def test_tensors_that_require_gradients(comm: pycoll.Communicator) -> None:
    """The library's own reason is in the error."""

    class RequiresGrad(DLPackArray):
        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            raise RuntimeError("not on a Variable that requires grad")

        def __dlpack__(self, **_: Any) -> object:
            raise BufferError("use tensor.detach()")

    with pytest.raises(ValueError, match=r"cannot be exported by DLPack: use tensor.detach\(\)$"):
        comm.broadcast(RequiresGrad.empty(3))


def test_arrays_over_several_gpus(comm: pycoll.Communicator) -> None:
    """JAX's raise for whoever asks them where they lie; with 'out' and without it is said."""

    class Sharded(DLPackArray):
        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            raise ValueError("only for unsharded arrays")

        def __dlpack_device__(self) -> tuple[int, int]:
            raise ValueError("only for unsharded arrays")

        new_empty = property()  # JAX's have none

    array = Sharded.empty(3)
    for arguments in ((array,), (array, DLPackArray.empty(3 * comm.size))):
        with pytest.raises(
            ValueError,
            match=f"^rank {comm.rank}: all_gather: 'array' does not say where it lies: only for un",
        ):
            comm.all_gather(*arguments)


def test_names_of_bfloat16(comm: pycoll.Communicator) -> None:
    """Two bytes without a kind are bfloat16 where the array says so, as PyTorch's do."""

    class TorchDtype:
        def __str__(self) -> str:
            return "torch.bfloat16"

    bare = Bare(on_gpu(InterfaceArray, np.zeros(4, ml_dtypes.bfloat16)))
    with pytest.raises(TypeError, match="'array' has dtype '<V2', which is not supported"):
        comm.broadcast(bare)
    bare.dtype = TorchDtype()
    comm.broadcast(bare)


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"typestr": "<c8"}, TypeError, "has dtype '<c8', which is not supported"),
        ({"typestr": ">f4"}, TypeError, "has dtype '>f4', which is not supported"),
        ({"typestr": "<f16"}, TypeError, "has dtype '<f16', which is not supported"),
        ({"mask": object()}, TypeError, "is masked"),
        ({"strides": (24, 4)}, ValueError, "is not C-contiguous"),
        ({"shape": ...}, TypeError, "that lacks something: 'shape'"),
        ({"version": "3"}, TypeError, "that is not as specified"),
        ({"stream": "3"}, TypeError, "that is not as specified"),
        ({"data": (np.ones(6).ctypes.data, False)}, TypeError, "its memory is none of a GPU"),
    ],
)
def test_bad_interfaces(
    comm: pycoll.Communicator, changed: dict[str, object], error: type[Exception], text: str
) -> None:
    """What is wrong is said, with the rank, the function and the argument."""
    bare = Bare(on_gpu(InterfaceArray, numbers(comm)), **changed)
    with pytest.raises(error, match=f"^rank {comm.rank}: broadcast: 'array' .*{text}"):
        comm.broadcast(bare)


def test_strides_of_rows_in_order(comm: pycoll.Communicator) -> None:
    """Strides may be given for what is contiguous, and those of single elements do not matter."""
    array = on_gpu(InterfaceArray, numbers(comm))
    comm.broadcast(Bare(array, strides=(12, 4)))
    comm.broadcast(Bare(array, shape=(1, 6), strides=(7, 4)))


def test_elements_across_their_borders(comm: pycoll.Communicator) -> None:
    """No GPU reads a float32 at an odd address."""
    array = on_gpu(InterfaceArray, np.zeros(9, np.uint8))
    odd = Bare(array[1:5], typestr="<f4", shape=(1,))
    with pytest.raises(ValueError, match="'array' does not lie at a multiple of its elements'"):
        comm.broadcast(odd)


def test_arrays_in_several_places(comm: pycoll.Communicator) -> None:
    """Both are named; and a communicator stays where it was used first."""
    array = on_gpu(InterfaceArray, numbers(comm))
    host = np.zeros((2 * comm.size, 3), np.float32)
    elsewhere = InterfaceArray.empty((2 * comm.size, 3), device=1)
    with pytest.raises(TypeError, match="'out' is on the host, but 'array' is on GPU 0; pass both"):
        comm.all_gather(array, host)
    with pytest.raises(TypeError, match="'out' is on GPU 0, but 'array' is on the host; pass both"):
        comm.all_reduce(numbers(comm), array)
    with pytest.raises(TypeError, match="'out' is on GPU 1, but 'array' is on GPU 0; pass both"):
        comm.all_gather(array, elsewhere)
    with pytest.raises(ValueError, match="lie on GPU 1, but this communicator was used with GPU 0"):
        comm.broadcast(elsewhere)
    np.testing.assert_array_equal(comm.all_gather(array).to_host(), all_numbers(comm))


def test_new_arrays_need_a_library_that_makes_them(comm: pycoll.Communicator) -> None:
    """Of a bare interface, pycoll knows the shape, and asks for the array."""
    bare = Bare(on_gpu(InterfaceArray, numbers(comm)))
    with pytest.raises(
        TypeError, match=r"'out' is missing, and pycoll makes no Bare of .*on a GPU"
    ):
        comm.all_gather(bare)
    out = InterfaceArray.empty((2 * comm.size, 3))
    assert comm.all_gather(bare, out) is out


def test_what_is_for_the_host_only() -> None:
    """The kernels of the host are not given memory that it cannot reach."""
    array = on_gpu(InterfaceArray, np.zeros(3, np.float32))
    with pytest.raises(TypeError, match="'source' lies on a GPU; pass an array on the host"):
        _core.copy(np.zeros(3, np.float32), array)


def test_messages_and_folds(comm: pycoll.Communicator) -> None:
    """Point to point, and reductions where the build has kernels; else it says how to get them."""
    array = on_gpu(InterfaceArray, numbers(comm))
    arrived = InterfaceArray.empty((2, 3))
    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    sent = comm.send(array, right, async_op=True)
    comm.recv(arrived, left)
    sent.wait()
    np.testing.assert_array_equal(arrived.to_host(), np.arange(6).reshape(2, 3) % 2 + left)
    with pytest.raises(ValueError, match="recv: 'array' is read-only"):
        comm.recv(arrived.read_only(), left)
    if _core.cuda_architectures():
        comm.all_reduce(array)
        total = sum(np.arange(6).reshape(2, 3) % 2 + r for r in range(comm.size))
        np.testing.assert_array_equal(array.to_host(), total)
    else:
        with pytest.raises(TypeError, match=r"no kernels for GPUs; .* \(nvcc\), see docs/gpu.md"):
            comm.all_reduce(array)


def test_exports_are_given_back(comm: pycoll.Communicator) -> None:
    """After a call, and after one that is refused, no library holds anything for pycoll."""
    array = on_gpu(DLPackArray, numbers(comm))
    comm.all_gather(array)
    with pytest.raises(ValueError, match="'op' is 'mean'"):
        comm.all_reduce(array, op="mean")
    with pytest.raises(ValueError, match="all_gather has no algorithm 'magic'"):
        comm.all_gather(array, algorithm="magic")
    comm.barrier()  # ends with the last reference to the call before it
    assert lent() == 0
