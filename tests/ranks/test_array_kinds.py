"""Arrays of any library: read and written where they lie, never copied."""

from __future__ import annotations

import array
import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest

import pycoll

COUNT = 12  # sums of 8 ranks still fit 8 bits


@dataclass(frozen=True)
class Kind:
    """How to make an array of whole numbers, and how to see what is in its memory now."""

    name: str
    make: Callable[[list[int]], object]
    look: Callable[[object], list[float]]


def torch_kind(name: str) -> Kind:
    def make(values: list[int]) -> object:
        torch = pytest.importorskip("torch")
        return torch.tensor(values, dtype=getattr(torch, name))

    return Kind(f"torch {name}", make, lambda tensor: [float(value) for value in tensor])


def to_list(values: object) -> list[float]:
    return [float(value) for value in values]


def numpy_kind(name: str, dtype: object) -> Kind:
    return Kind(name, lambda values: np.array(values, dtype), to_list)


KINDS = [
    numpy_kind("NumPy float32", np.float32),
    numpy_kind("NumPy little-endian, by name", "<i4"),
    numpy_kind("ml_dtypes bfloat16", ml_dtypes.bfloat16),
    Kind("part of a NumPy array", lambda v: np.array([9, *v, 9], np.int16)[1:-1], to_list),
    Kind("field of NumPy records", lambda v: np.array(v, [("a", "i8")])["a"], to_list),
    *(
        Kind(f"array.array of {code}", lambda v, code=code: array.array(code, v), to_list)
        for code in "bBhHiIlLqQfd"
    ),
    Kind("bytearray", lambda v: bytearray(v), to_list),
    Kind("memoryview", lambda v: memoryview(array.array("d", v)), to_list),
    Kind("part of a memoryview", lambda v: memoryview(bytearray([9, *v, 9]))[1:-1], to_list),
    Kind("ctypes array", lambda v: (ctypes.c_int32 * len(v))(*v), to_list),
    Kind("ctypes array of doubles", lambda v: (ctypes.c_double * len(v))(*v), to_list),
    *(
        torch_kind(name)
        for name in (
            "uint8",
            "int8",
            "int16",
            "int32",
            "int64",
            "float16",
            "bfloat16",
            "float32",
            "float64",
        )
    ),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_kinds_of_arrays(comm: pycoll.Communicator, kind: Kind) -> None:
    """Every kind is summed in place, gathered into a new array of its dtype, and moved."""
    size, rank = comm.size, comm.rank
    mine = kind.make(list(range(COUNT)))
    assert comm.all_reduce(mine) is mine
    assert kind.look(mine) == [size * value for value in range(COUNT)]

    flat = kind.make([rank] * COUNT)
    out = kind.make([99] * (size * COUNT))
    assert comm.all_gather(flat, out) is out
    expected = [float(r) for r in range(size) for _ in range(COUNT)]
    assert kind.look(out) == expected
    assert kind.look(flat) == [rank] * COUNT

    target = kind.make([rank + 5] * COUNT)
    comm.broadcast(target, root=size - 1)
    assert kind.look(target) == [size + 4] * COUNT

    if size > 1:
        received = kind.make([0] * COUNT)
        sending = comm.send(flat, (rank + 1) % size, async_op=True)
        assert comm.recv(received, (rank - 1) % size) is received
        sending.wait()
        assert kind.look(received) == [(rank - 1) % size] * COUNT


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("d", "float64"), ("f", "float32"), ("h", "int16"), ("B", "uint8"), ("q", "int64")],
)
def test_new_arrays_for_buffers_are_numpy_arrays(
    comm: pycoll.Communicator, kind: str, dtype: str
) -> None:
    """Where a result has another size than the argument, it has its dtype."""
    result = comm.all_gather(array.array(kind, [comm.rank]))
    assert isinstance(result, np.ndarray)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, np.arange(comm.size))


def test_new_arrays_of_bfloat16(comm: pycoll.Communicator) -> None:
    """Results of ml_dtypes' bfloat16 are of it, too."""
    result = comm.all_gather(np.full((2, 3), comm.rank, ml_dtypes.bfloat16))
    assert result.dtype == ml_dtypes.bfloat16
    assert result.shape == (2 * comm.size, 3)


def test_buffers_with_several_axes(comm: pycoll.Communicator) -> None:
    """Rows of a memoryview count as those of an array do."""
    view = memoryview(bytearray([comm.rank] * 6)).cast("B", (2, 3))
    assert comm.all_gather(view).shape == (2 * comm.size, 3)
    table = memoryview(array.array("i", range(4 * comm.size))).cast("B").cast("i", (comm.size, 4))
    np.testing.assert_array_equal(
        comm.reduce_scatter(table), [[(4 * comm.rank + i) * comm.size for i in range(4)]]
    )


def test_truth_values(comm: pycoll.Communicator) -> None:
    """ctypes and NumPy know bool; it is reduced as such."""
    flags = (ctypes.c_bool * 2)(comm.rank == 0, True)
    comm.all_reduce(flags, op="band")
    assert list(flags) == [comm.size == 1, True]


def test_tensors_of_torch_make_tensors(comm: pycoll.Communicator) -> None:
    """New results are tensors, of the same dtype; parts of tensors are written in place."""
    torch = pytest.importorskip("torch")
    rows = torch.full((2, 3), comm.rank, dtype=torch.bfloat16)
    gathered = comm.all_gather(rows)
    assert isinstance(gathered, torch.Tensor)
    assert gathered.dtype == torch.bfloat16
    assert gathered.shape == (2 * comm.size, 3)
    memory = torch.zeros(4, 3)
    comm.all_reduce(memory[1:3].fill_(1))
    assert memory.sum() == 6 * comm.size
    scalar = torch.tensor(3)
    comm.all_reduce(scalar)
    assert scalar == 3 * comm.size
    detached = torch.ones(4, requires_grad=True)
    comm.all_reduce(detached.detach())
    assert (detached == comm.size).all()
    mask = torch.tensor([True, comm.rank == 0])
    comm.all_reduce(mask, op="band")
    assert mask.tolist() == [True, comm.size == 1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "bool"])
def test_arrays_of_jax_can_be_read(comm: pycoll.Communicator, dtype: str) -> None:
    """They are immutable: results need an array of their own."""
    jax = pytest.importorskip("jax")
    numbers = jax.numpy.arange(4).astype(dtype)
    out = np.zeros(4, numbers.dtype)
    comm.all_reduce(numbers, out, op="max")
    np.testing.assert_array_equal(out, numbers)
    assert comm.all_gather(numbers).dtype == numbers.dtype
    with pytest.raises(ValueError, match=r"'array' is read-only"):
        comm.all_reduce(numbers, op="max")
