"""Capsules of the DLPack exchange format around arrays of ``device_arrays``."""

from __future__ import annotations

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char_p,
    c_int32,
    c_int64,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
    py_object,
)
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device_arrays import DeviceArray

_TYPE_CODES = {"i": 0, "u": 1, "f": 2, "V": 4, "b": 6}
_CUDA = 2
_READ_ONLY = 1


class _Tensor(Structure):
    _fields_ = (
        ("data", c_void_p),
        ("device_type", c_int32),
        ("device_id", c_int32),
        ("ndim", c_int32),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    )


class _Managed(Structure):
    _fields_ = (("tensor", _Tensor), ("context", c_void_p), ("deleter", c_void_p))


class _ManagedVersioned(Structure):
    _fields_ = (
        ("major", c_uint32),
        ("minor", c_uint32),
        ("context", c_void_p),
        ("deleter", c_void_p),
        ("flags", c_uint64),
        ("tensor", _Tensor),
    )


# What each capsule that is out needs, until its consumer calls the deleter: by address.
_lent: dict[int, tuple[object, ...]] = {}


@CFUNCTYPE(None, c_void_p)
def _give_back(managed: int) -> None:
    del _lent[managed]


# Those whose capsule nobody consumed are given back when it goes.
@CFUNCTYPE(None, c_void_p)
def _drop(capsule: int) -> None:
    for name in (b"dltensor", b"dltensor_versioned"):
        if _is_valid(capsule, name):
            del _lent[_pointer(capsule, name)]


_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, c_void_p, c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_pointer = ctypes.PYFUNCTYPE(c_void_p, c_void_p, c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
# The same, of a capsule that is not going yet.
_pointer_in = ctypes.PYFUNCTYPE(c_void_p, py_object, c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_new_capsule = ctypes.PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)


def lent() -> int:
    """Count the capsules that are out: what was exported and not given back."""
    return len(_lent)


def version(capsule: object) -> tuple[int, int]:
    """Return the version of DLPack that a capsule, of anybody's, follows."""
    address = _pointer_in(capsule, b"dltensor_versioned")
    managed = _ManagedVersioned.from_address(address)
    return managed.major, managed.minor


def managed_tensor(array: DeviceArray, *, versioned: bool) -> object:
    """Return a capsule around an array, which lives as long as the capsule's consumer wants."""
    dimensions = len(array.shape)
    shape = (c_int64 * dimensions)(*array.shape)
    strides = (c_int64 * dimensions)(*(stride // array.dtype.itemsize for stride in array.strides))
    managed = _ManagedVersioned() if versioned else _Managed()
    managed.tensor = _Tensor(
        array.pointer,
        _CUDA,
        array.device,
        dimensions,
        _TYPE_CODES[array.dtype.kind],
        8 * array.dtype.itemsize,
        1,
        shape,
        strides,
        0,
    )
    managed.deleter = ctypes.cast(_give_back, c_void_p)
    name = b"dltensor"
    if isinstance(managed, _ManagedVersioned):
        name = b"dltensor_versioned"
        managed.major = 1
        managed.flags = _READ_ONLY if array.is_read_only else 0
    address = ctypes.addressof(managed)
    _lent[address] = (managed, array, shape, strides)
    return _new_capsule(address, name, ctypes.cast(_drop, c_void_p))
