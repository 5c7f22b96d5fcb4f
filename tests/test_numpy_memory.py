"""Large arrays of NumPy lie in registered memory, and behave as ever."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from launching import Mpirun

SHARED = """
import os
import threading
import numpy as np
from pycoll import _core
assert _core.share_numpy_arrays()
LARGE = 200_000
"""


def run(program: str) -> str:
    """Run a program of its own process: what it does to NumPy must not outlast it."""
    done = subprocess.run(
        [sys.executable, "-c", SHARED + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_which_arrays_are_registered() -> None:
    """Those of 16 KiB and more that are made afterwards, whatever makes them."""
    run(
        """
        for array in (
            np.empty(LARGE), np.zeros(LARGE), np.ones(LARGE), np.arange(LARGE), np.ones(LARGE) + 1,
            np.ones((3, LARGE)).T.copy(), np.zeros(16 << 10, "u1"),
            np.frombuffer(bytes(LARGE), "u1").astype("f4"), np.empty(LARGE)[5:], np.eye(200),
        ):
            assert _core.is_registered(array)
        for other in (np.zeros((16 << 10) - 1, "u1"), np.frombuffer(bytearray(LARGE), "u1")):
            assert not _core.is_registered(other)
        # Once more changes nothing.
        assert _core.share_numpy_arrays()
        assert _core.is_registered(np.empty(LARGE))
        """
    )


def test_zeros_are_zeros() -> None:
    """In memory that was used before, too, in whole or in part."""
    run(
        """
        random = np.random.default_rng(1)
        held = []
        for length in random.integers(16 << 10, 1 << 22, 200):
            array = np.zeros(length, "u1")
            assert not array.any()
            array.fill(255)
            held.append(array)
            if len(held) > 5:
                del held[random.integers(len(held))]
        """
    )


def test_growing_and_shrinking() -> None:
    """The content moves along, between NumPy's memory and the shared one."""
    run(
        """
        lengths = [10, 3000, 5000, 4999, 2600, 100, 0, 70_000, 80_000, 2_000_000, 16]
        array = np.arange(10)
        for before, length in zip(lengths, lengths[1:]):
            array.resize(length, refcheck=False)
            kept = min(before, length)
            assert (array[:kept] == np.arange(kept)).all(), (before, length)
            assert not array[kept:].any(), (before, length)
            array[:] = np.arange(length)
        grown = np.fromiter((number for number in range(LARGE)), np.int64)
        assert (grown == np.arange(LARGE)).all()
        """
    )


def test_too_large_is_a_memory_error_as_ever() -> None:
    run(
        """
        for make in (np.empty, np.zeros):
            try:
                make(1 << 60, "u1")
            except MemoryError:
                continue
            raise AssertionError("made")
        """
    )


def test_a_forked_process_has_copies() -> None:
    """Neither sees what the other writes after the fork; both go on to make and drop arrays."""
    run(
        """
        arrays = [np.full(LARGE, number, np.float32) for number in range(5)]
        sparse = np.zeros(1 << 30, "u1")
        sparse[1 << 29] = 7
        ours, theirs = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            try:
                assert not _core.is_registered(arrays[0])
                os.read(theirs[0], 1)  # the parent has written
                for number, array in enumerate(arrays):
                    assert (array == number).all()
                    array[:] = -1
                assert sparse[1 << 29] == 7 and not sparse[: 1 << 20].any()
                arrays.clear()
                for number in range(20):
                    more = np.zeros(LARGE * 10) + number
                    assert (more == number).all()
                os.write(ours[1], b"x")
                os._exit(0)
            except BaseException as error:
                print(error, flush=True)
                os._exit(1)
        for number, array in enumerate(arrays):
            array[:] = 100 + number
        os.write(theirs[1], b"x")
        os.read(ours[0], 1)  # the child has written
        for number, array in enumerate(arrays):
            assert (array == 100 + number).all()
        assert os.waitpid(child, 0)[1] == 0
        assert _core.is_registered(arrays[0])
        """
    )


def test_a_forked_process_may_fork() -> None:
    """And so on; each has its own."""
    run(
        """
        array = np.zeros(LARGE)
        generation = 0
        while generation < 3:
            array += 1
            child = os.fork()
            if child > 0:
                more = np.full(LARGE, generation)
                status = os.waitpid(child, 0)[1]
                right = (array == generation + 1).all() and (more == generation).all()
                if generation == 0:
                    assert right and status == 0
                    break
                os._exit(not right or status)
            generation += 1
        else:
            os._exit(not (array == 3).all())
        """
    )


def test_other_threads_make_arrays_as_before() -> None:
    """NumPy's allocator is that of a context; the arrays may be dropped by any thread."""
    run(
        """
        seen = []

        def work():
            seen.append(_core.is_registered(np.ones(LARGE)))
            held.clear()

        held = [np.ones(LARGE) for _ in range(10)]
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [False] and not held
        assert _core.is_registered(np.ones(LARGE))
        """
    )


@pytest.mark.parametrize(
    ("switch", "ranks", "shared"), [("1", 2, True), ("0", 2, False), ("1", 1, False)]
)
def test_from_the_first_communicator_on(
    mpirun: Mpirun, switch: str, ranks: int, shared: bool
) -> None:
    """Where ranks have company on their node, unless the environment says no."""
    program = textwrap.dedent(
        """
        import sys
        import numpy as np
        import pycoll
        from pycoll import _core
        before = np.ones(100_000, np.float32)
        comm = pycoll.world()
        after = np.ones(100_000, np.float32)
        assert comm.all_reduce(before)[-1] == comm.all_reduce(after)[-1] == comm.size
        sys.stdout.write(f"{_core.is_registered(before)} {_core.is_registered(after)}\\n")
        """
    )
    done = mpirun(ranks, "-c", program, env={"PYCOLL_SHARE_NUMPY": switch}, timeout=60)
    assert done.stdout.split("\n").count(f"False {shared}") == ranks, done.stderr
