"""What counts as an array, of what dtype and shape."""

from __future__ import annotations

import array
import ctypes
import gc
import mmap
import weakref

import ml_dtypes
import numpy as np
import pytest

import pycoll
from pycoll import _core, arrays


@pytest.mark.parametrize("name", _core.DTYPE_SIZES)
def test_dtypes_of_numpy(name: str) -> None:
    """Each supported dtype is known, however the array lies."""
    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    for shape in ((), (0,), (3,), (2, 0, 3), (2, 3)):
        assert _core.dtype_of(np.zeros(shape, dtype)) == name
    assert dtype.itemsize == _core.DTYPE_SIZES[name]


@pytest.mark.parametrize(
    ("code", "name"),
    [
        *((code, f"i{array.array(code).itemsize}") for code in "bhilq"),
        *((code, f"u{array.array(code).itemsize}") for code in "BHILQ"),
        ("f", "f4"),
        ("d", "f8"),
    ],
)
def test_dtypes_of_buffers(code: str, name: str) -> None:
    """The format and the width of a buffer's items say what they are."""
    assert _core.dtype_of(array.array(code, [1])) == np.dtype(name).name


def test_other_buffers() -> None:
    """bytes, ctypes, 2-byte floats and bool."""
    assert _core.dtype_of(b"ab") == "uint8"
    assert _core.dtype_of(bytearray()) == "uint8"
    assert _core.dtype_of((ctypes.c_uint16 * 3)()) == "uint16"
    assert _core.dtype_of((ctypes.c_bool * 3)()) == "bool"
    assert _core.dtype_of(memoryview(np.zeros(3, np.float16))) == "float16"


@pytest.mark.parametrize(
    "wrong",
    [
        (ctypes.c_int32.__ctype_be__ * 3)(),
        (ctypes.c_char * 3)(),
        (ctypes.c_longdouble * 3)(),
        memoryview(np.zeros(3, complex)),
        memoryview(np.zeros(3, [("a", "i4"), ("b", "i4")])),
        np.zeros(3, ">i2"),
        np.zeros(3, "V2"),
    ],
    ids=lambda wrong: type(wrong).__name__,
)
def test_wrong_dtypes(wrong: object) -> None:
    """What is not supported is refused, with what is."""
    with pytest.raises(TypeError, match=r"'array' has dtype .*not supported; supported are bool"):
        _core.dtype_of(wrong)


class Exporter:
    """A tensor by DLPack only, as libraries without buffer protocol have them."""

    def __init__(self, wrapped: np.ndarray, *, versioned: bool = True) -> None:
        self.wrapped = wrapped
        self.versioned = versioned

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __dlpack__(self, **options: object) -> object:
        if options and not self.versioned:
            raise TypeError("unexpected keyword argument 'max_version'")
        return self.wrapped.__dlpack__(**options)


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("name", [name for name in _core.DTYPE_SIZES if name != "bfloat16"])
def test_dtypes_of_dlpack(name: str, versioned: bool) -> None:
    """Exporters of DLPack 1 and of older versions are understood."""
    assert _core.dtype_of(Exporter(np.zeros(3, name), versioned=versioned)) == name


def test_dlpack_of_any_layout() -> None:
    """Rows in order are taken, others refused; of one element or none, any strides will do."""
    for good in (np.zeros((2, 3)), np.zeros((0, 3)).T, np.zeros((3, 1)).T, np.zeros(())):
        assert _core.dtype_of(Exporter(good)) == "float64"
    for bad in (np.zeros((2, 3)).T, np.zeros(6)[::2], np.zeros(6)[::-1]):
        with pytest.raises(ValueError, match="'array' is not C-contiguous"):
            _core.dtype_of(Exporter(bad))


def test_dlpack_that_fails_says_why() -> None:
    """The exporter's own reason is in the error."""

    class Unwilling(Exporter):
        def __dlpack__(self, **_: object) -> object:
            raise BufferError("no export today")

    with pytest.raises(ValueError, match=r"'array' cannot be exported by DLPack: no export today$"):
        _core.dtype_of(Unwilling(np.zeros(3)))


@pytest.fixture(scope="module")
def alone() -> pycoll.Communicator:
    return pycoll.Communicator()


def test_dlpack_is_read_and_written_in_place(alone: pycoll.Communicator) -> None:
    """No copy on the way in or out, read-only exports are not written, and nothing is kept."""
    source, target = np.arange(4.0), np.zeros(4)
    alive = weakref.ref(source)
    alone.all_reduce(Exporter(source), Exporter(target))
    np.testing.assert_array_equal(target, np.arange(4.0))
    del source
    gc.collect()
    assert alive() is None
    target.flags.writeable = False
    with pytest.raises(ValueError, match="'out' is read-only"):
        alone.all_reduce(np.zeros(4), Exporter(target))


def test_immutable_arrays_that_only_dlpack_knows(alone: pycoll.Communicator) -> None:
    """What has the buffer protocol, but not for its dtype, can be read: so JAX has bfloat16."""

    class Immutable(Exporter, mmap.mmap):
        def __new__(cls, _: np.ndarray) -> Immutable:
            return mmap.mmap.__new__(cls, -1, 1)

    numbers = Immutable(np.arange(4.0))
    numbers.close()  # a closed mmap shows no buffer
    np.testing.assert_array_equal(alone.all_reduce(numbers, np.zeros(4)), np.arange(4.0))
    with pytest.raises(ValueError, match="'array' is read-only"):
        alone.all_reduce(numbers)


def test_buffers_are_given_back_after_errors(alone: pycoll.Communicator) -> None:
    """A call that is refused leaves no view on its arrays behind."""
    memory = bytearray(4)
    for wrong in ({"op": "mean"}, {"out": bytearray(99)}, {"algorithm": "magic"}):
        with pytest.raises(ValueError, match="rank 0: all_reduce"):
            alone.all_reduce(memory, **wrong)
        memory.append(0)
    typed = memoryview(memory).cast("c")
    with pytest.raises(TypeError, match="'array' has dtype 'c'"):
        alone.all_reduce(typed)
    typed.release()
    memory.append(0)


def test_shapes() -> None:
    """Of arrays with a shape, of buffers, and of what has none."""
    assert arrays.shape_of(np.zeros((2, 3))) == (2, 3)
    assert arrays.shape_of(bytearray(5)) == (5,)
    assert arrays.rows_of(np.zeros(())) == 1
    with pytest.raises(TypeError, match="'array' is a list, not an array; pass a NumPy array"):
        arrays.shape_of([1, 2])


def test_new_arrays_like_others() -> None:
    """Of the same dtype and rows, of another number of rows."""
    new = arrays.empty_like(np.zeros((2, 3), np.int16), 7)
    assert new.shape == (7, 3)
    assert new.dtype == np.int16
    assert arrays.empty_like(np.zeros((2, 3), ml_dtypes.bfloat16), None).dtype == ml_dtypes.bfloat16
    assert arrays.empty_like(np.zeros(()), 3).shape == (3,)
    assert arrays.empty_like(array.array("h", [1, 2]), 5).dtype == np.int16


def test_counts() -> None:
    """Rows become elements; integers of any type are counts, and nothing else is."""
    rows = arrays.row_counts("counts", (np.uint8(200), 200, True), 3)
    assert rows == [200, 200, 1]
    assert arrays.elements_of("counts", rows, np.zeros((401, 2, 3))) == [1200, 1200, 6]
    for wrong in ("ab", None, [1.0, 2], 3):
        with pytest.raises(TypeError, match="'counts' must be a sequence of 2 integers"):
            arrays.row_counts("counts", wrong, 2)
