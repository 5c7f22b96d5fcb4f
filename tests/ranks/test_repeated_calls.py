"""Calls that are made again and again: what is remembered of one never decides another."""

from __future__ import annotations

import inspect
import pickle
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

import numpy as np
import pytest

import pycoll


def own(comm: pycoll.Communicator, count: int, dtype: str = "float32") -> np.ndarray:
    return np.full(count, comm.rank + 1, dtype)


def total(comm: pycoll.Communicator) -> int:
    return comm.size * (comm.size + 1) // 2


def test_the_same_call_on_other_arrays(comm: pycoll.Communicator) -> None:
    for _ in range(3):
        for count in (1, 5, 7, 5):
            for dtype in ("float32", "float64", "int32"):
                array = own(comm, count, dtype)
                assert comm.all_reduce(array) is array
                assert (array == total(comm)).all()
                assert array.dtype == dtype


def test_more_calls_than_are_remembered(comm: pycoll.Communicator) -> None:
    for _ in range(2):
        for count in range(1, 200):
            assert (comm.all_reduce(own(comm, count)) == total(comm)).all()


def test_other_operations_roots_and_outputs(comm: pycoll.Communicator) -> None:
    for _ in range(3):
        assert (comm.all_reduce(own(comm, 4), op="max") == comm.size).all()
        assert (comm.all_reduce(own(comm, 4), op="".join(["m", "in"])) == 1).all()
        array, out = own(comm, 4), np.zeros(4, np.float32)
        assert comm.all_reduce(array, out) is out
        assert (out == total(comm)).all()
        assert (array == comm.rank + 1).all()
        for root in range(comm.size):
            found = comm.broadcast(own(comm, 4), root=np.int64(root))
            assert (found == root + 1).all()
            reduced = comm.reduce(own(comm, 4), root=root)
            if comm.rank == root:
                assert (reduced == total(comm)).all()
            else:
                assert reduced is None


def test_one_array_twice_and_two_arrays(comm: pycoll.Communicator) -> None:
    """Which arguments are the same object decides what is written."""
    for _ in range(3):
        for same in (True, False, True):
            array = own(comm, 6)
            out = array if same else np.zeros(6, np.float32)
            for result in (comm.all_reduce(array, out), out):
                assert result is out
            assert (out == total(comm)).all()
            assert same or (array == comm.rank + 1).all()
            array = own(comm, 6)
            out = array if same else np.zeros(6, np.float32)
            assert comm.all_reduce(out=out, array=array, op="max") is out
            assert (out == comm.size).all()
            assert same or (array == comm.rank + 1).all()


def test_arguments_by_name_and_by_position(comm: pycoll.Communicator) -> None:
    for _ in range(3):
        out = np.zeros(6, np.float32)
        assert comm.all_reduce(own(comm, 6), out, op="sum") is out
        assert comm.all_reduce(own(comm, 6), op="max", out=out) is out
        assert (out == comm.size).all()
        assert comm.all_reduce(array=own(comm, 6), op="min", out=out) is out
        assert (out == 1).all()
        array = own(comm, 6)
        assert comm.all_reduce(array, None, op="min", algorithm="auto", chunk_bytes=0) is array
        assert (array == 1).all()
        for wrong in ({"ops": "min"}, {"op": 1}, {"root": 0}):
            with pytest.raises((TypeError, ValueError)):
                comm.all_reduce(array, **wrong)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="'array'"):
            comm.all_reduce()  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            comm.all_reduce(array, out, "min")  # type: ignore[call-overload]


def functions_of_python(call: Callable[[], object]) -> set[str]:
    """Return the names of those that run during a call."""
    names = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            names.add(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return names - {"<lambda>"}


def test_repeated_calls_run_no_python(comm: pycoll.Communicator) -> None:
    """From the second one on, for whatever the caller passes."""
    array, out = own(comm, 6), np.zeros(6, np.float32)
    all_out = np.zeros(6 * comm.size, np.float32)
    dealt = np.zeros(6 * comm.size, np.float32)
    root = comm.size - 1
    calls: dict[str, Callable[[], object]] = {
        "all_reduce": lambda: comm.all_reduce(array, op="max"),
        "reduce": lambda: comm.reduce(array, out, root=root),
        "broadcast": lambda: comm.broadcast(array, root=root),
        "reduce_scatter": lambda: comm.reduce_scatter(dealt, out),
        "all_gather": lambda: comm.all_gather(array, all_out),
        "gather": lambda: comm.gather(array, all_out if comm.rank == root else None, root=root),
        "scatter": lambda: comm.scatter(dealt, out, root=root),
        "all_to_all": lambda: comm.all_to_all(dealt, all_out),
        "barrier": lambda: comm.barrier(),
    }
    for name, call in calls.items():
        assert name in functions_of_python(call)
        assert functions_of_python(call) == set(), name


def test_methods_are_what_they_say() -> None:
    """Shortcuts look like the methods that they are for."""
    method = pycoll.Communicator.all_reduce
    assert list(inspect.signature(method).parameters)[:4] == ["self", "array", "out", "op"]
    assert "Fold the arrays of all ranks" in (inspect.getdoc(method) or "")
    assert method.__name__ == "all_reduce"
    assert method.__qualname__ == "Collectives.all_reduce"
    assert "Collectives.all_reduce" in repr(method)
    assert pickle.loads(pickle.dumps(method)) is method
    with pytest.raises(TypeError, match="self"):
        method()  # type: ignore[call-overload]
    with pytest.raises(AttributeError, match="_call"):
        method(3, np.ones(3))  # type: ignore[call-overload]


def test_calls_within_calls(comm: pycoll.Communicator) -> None:
    """What a signal handler calls before a method is over does not stand for its own call."""
    method = pycoll.Communicator.reduce.__wrapped__  # type: ignore[attr-defined]
    with comm.dup() as other:
        for barrier in (comm.barrier, other.barrier):

            def interrupted(
                self: object, array: np.ndarray, barrier: Callable[[], None] = barrier
            ) -> object:
                result = method(self, array)
                barrier()
                return result

            barrier()
            handled = pycoll._core.Shortcut(interrupted)
            for turn in range(1, 4):
                array = np.full(5, turn, np.float32)
                reduced = handled(other, array)
                if comm.rank == 0:
                    assert (reduced == turn * comm.size).all()
                else:
                    assert reduced is None
                    assert (array == turn).all()


def test_methods_of_subclasses(comm: pycoll.Communicator) -> None:
    class Counting(pycoll.Communicator):
        calls = 0

        def all_reduce(self, *arguments: object, **named: object) -> object:  # type: ignore[override]
            self.calls += 1
            return super().all_reduce(*arguments, **named)  # type: ignore[call-overload]

    with Counting() as counting:
        for turn in range(1, 4):
            assert (counting.all_reduce(own(comm, 7)) == total(comm)).all()
            assert counting.calls == turn


def test_what_stands_before_the_core(comm: pycoll.Communicator) -> None:
    """It is found when calls have been repeated without it, and no longer than it is there."""

    class Watched(pycoll.Communicator):
        pass

    with Watched() as watched:
        core = watched._call
        seen: list[str] = []

        def watching(collective: str, *arguments: object, **options: object) -> object:
            seen.append(collective)
            return core(collective, *arguments, **options)

        for _ in range(3):
            watched.barrier()
        Watched._call = property(lambda self: watching)  # type: ignore[assignment]
        for _ in range(2):
            watched.barrier()
            assert (watched.all_reduce(own(comm, 7)) == total(comm)).all()
        del Watched._call
        watched.barrier()
        assert seen == ["barrier", "all_reduce"] * 2
        watched._call = watching
        watched.barrier()
        assert seen[4:] == ["barrier"]
        watched._call = core
        for _ in range(3):
            watched.barrier()
        assert len(seen) == 5

        class Other:
            __slots__ = tuple(f"slot_{i}" for i in range(2000))

        Watched._call = Other.slot_1999  # type: ignore[attr-defined]
        with pytest.raises(TypeError, match="slot_1999"):
            watched.barrier()
        del Watched._call
        del watched._call
        with pytest.raises(AttributeError, match="_call"):
            watched.barrier()
        watched._call = core


def test_in_place_and_not(comm: pycoll.Communicator) -> None:
    """The same counts, with the input in the output, and elsewhere."""
    for _ in range(3):
        out = np.zeros(3 * comm.size, np.float32)
        mine = out[3 * comm.rank : 3 * comm.rank + 3]
        mine[:] = comm.rank
        for array in (mine, np.full(3, comm.rank, np.float32)):
            comm.all_gather(array, out)
            assert (out == np.repeat(np.arange(comm.size), 3)).all()


def test_what_is_wrong_is_refused_each_time(comm: pycoll.Communicator) -> None:
    """Whatever was right before; and what is right goes on."""
    memory = np.zeros(12, np.float32)
    fixed = np.ones(8, np.float32)
    fixed.flags.writeable = False
    for _ in range(3):
        memory[:] = comm.rank + 1
        comm.all_reduce(memory[:8], np.zeros(8, np.float32))
        with pytest.raises(ValueError, match="overlaps"):
            comm.all_reduce(memory[:8], memory[4:])
        with pytest.raises(ValueError, match="read-only"):
            comm.all_reduce(fixed)
        with pytest.raises(ValueError, match="contiguous"):
            comm.all_reduce(np.ones(16, np.float32)[::2])
        with pytest.raises(TypeError, match="dtype"):
            comm.all_reduce(np.ones(8, np.float32), np.ones(8, np.float64))
        with pytest.raises(TypeError, match="'stream' is for arrays on a GPU"):
            comm.all_reduce(memory, stream=1)
        comm.all_reduce(memory)
        assert (memory == total(comm)).all()


def test_other_kinds_of_arrays(comm: pycoll.Communicator) -> None:
    class Special(np.ndarray):
        pass

    for _ in range(2):
        for kind in (np.ndarray, Special):
            array = own(comm, 6).view(kind)
            assert comm.all_reduce(array) is array
            assert (array == total(comm)).all()
        text = bytearray(own(comm, 6, "uint8").tobytes())
        comm.all_reduce(memoryview(text))
        assert set(text) == {total(comm)}
        assert (comm.all_reduce(own(comm, 6).reshape(2, 3)) == total(comm)).all()


def test_communicators_remember_for_themselves(comm: pycoll.Communicator) -> None:
    with comm.dup() as other:
        for _ in range(2):
            for one in (comm, other):
                assert (one.all_reduce(own(comm, 9)) == total(comm)).all()
                one.barrier()
    with pytest.raises(pycoll.CollectiveError, match="all_reduce: this communicator is closed"):
        other.all_reduce(own(comm, 9))
    with pytest.raises(pycoll.CollectiveError, match="barrier: this communicator is closed"):
        other.barrier()


def test_arrays_that_change_during_a_call(comm: pycoll.Communicator) -> None:
    """What another thread makes of the array of one call does not decide later calls."""
    if comm.size == 1:
        pytest.skip("one rank waits for nobody")
    array = own(comm, 11)
    if comm.rank == 0:
        time.sleep(0.1)
    else:
        threading.Timer(0.03, setattr, (array, "dtype", np.dtype("int32"))).start()
    comm.all_reduce(array)
    for _ in range(2):
        assert (comm.all_reduce(own(comm, 11, "int32")) == total(comm)).all()
        assert (comm.all_reduce(own(comm, 11)) == total(comm)).all()


def test_calls_with_all_roots_far_apart(comm: pycoll.Communicator) -> None:
    """Ranks that need nothing of others go ahead, and each still gets what belongs to its call."""
    size, rank = comm.size, comm.rank
    count = 6
    for turn in range(40):
        for root in range(size):
            value = 100 * turn + root
            moved = np.full(count, value if rank == root else -1, np.int64)
            assert (comm.broadcast(moved, root=root) == value).all()
            reduced = comm.reduce(np.full(count, value + rank), root=root)
            if rank == root:
                assert (reduced == size * value + size * (size - 1) // 2).all()
            gathered = comm.gather(np.full(count, value + rank), root=root)
            if rank == root:
                assert (gathered == np.repeat(value + np.arange(size), count)).all()
            dealt = np.repeat(value + np.arange(size), count) if rank == root else None
            mine = comm.scatter(dealt, np.zeros(count, np.int64), root=root)
            assert (mine == value + rank).all()
        if turn % 3 == 0:
            assert (comm.all_reduce(own(comm, 5)) == total(comm)).all()
        if turn % 5 == 0:
            comm.barrier()


def test_one_kind_of_call_far_apart(comm: pycoll.Communicator) -> None:
    """The slots of one call are used again while others are calls behind."""
    for count in (1, 3000, 8192, 8193, 30_000):
        for root in {0, comm.size - 1}:
            for turn in range(60):
                array = np.full(count, turn if comm.rank == root else -1, np.int32)
                assert (comm.broadcast(array, root=root) == turn).all()
            for turn in range(60):
                reduced = comm.reduce(np.full(count, turn, np.int32), root=root)
                assert comm.rank != root or (reduced == turn * comm.size).all()


def test_a_rank_that_is_ahead_may_close(comm: pycoll.Communicator) -> None:
    """What the others still have to read of it stays."""
    for turn in range(5):
        other = comm.dup()
        for step in range(13):
            array = np.full(9, turn + step if comm.rank == 0 else -1, np.int32)
            if comm.rank > 0 and step == 5:
                time.sleep(0.01)
            assert (other.broadcast(array) == turn + step).all()
        other.close()
