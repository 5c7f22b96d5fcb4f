"""What a rank hears when another one does not do its part: an error in time, never a hang."""

from __future__ import annotations

import textwrap
import time

import pytest
from launching import Mpirun

START = """
import os, sys, time
import numpy as np
from mpi4py import MPI
import pycoll

comm = pycoll.world()
rank, size = comm.rank, comm.size
"""


def program(text: str) -> str:
    return START + textwrap.dedent(text)


def test_a_peer_that_never_calls(mpirun: Mpirun) -> None:
    """The ranks that wait give up in time and name the peer; the program ends by that error."""
    began = time.monotonic()
    done = mpirun(
        3,
        "-c",
        program(
            """
            if rank != 1:
                comm.all_reduce(np.ones(1000), algorithm="ring")
            """
        ),
        env={"PYCOLL_TIMEOUT": "1"},
        timeout=60,
    )
    assert done.returncode != 0
    error = "TimeoutError: rank 2: all_reduce (call 1: 1000 x float64): gave up after 1 s, "
    assert f"pycoll.{error}" in done.stderr
    assert "waiting for rank 1 (which has made no call yet)" in done.stderr
    assert time.monotonic() - began < 30


CATCHING = """
heard = "nothing"
try:
    {call}
except pycoll.CollectiveError as error:
    heard = f"{{type(error).__name__}}: {{error}}"
print(heard, flush=True)
MPI.COMM_WORLD.Barrier()
if rank == 0:
    print("all ranks heard", flush=True)
"""


# Short messages only: of one above its eager limit of 4 KiB that does not fit, Open MPI 5 reports
# the error, but has written all of it already, whatever lies behind the receiver's memory.
@pytest.mark.parametrize(
    ("call", "kinds"),
    [
        ("comm.all_reduce(np.ones(10 + rank), algorithm='ring')", "CollectiveError|TimeoutError"),
        ("comm.broadcast(np.ones(10 if rank == 0 else 20))", "CollectiveError"),
        ("comm.broadcast(np.ones(20 if rank == 0 else 10))", "CollectiveError"),
        ("comm.all_gather(np.ones(1 + rank), np.ones((1 + rank) * size))", "CollectiveError"),
        ("comm.all_reduce(np.ones(4, np.float32 if rank else np.float64))", "CollectiveError"),
        ("comm.barrier() if rank else comm.all_reduce(np.ones(100))", "CollectiveError"),
    ],
)
def test_messages_that_do_not_match(mpirun: Mpirun, call: str, kinds: str) -> None:
    """Without shared memory, what differs between ranks is an error somewhere, in time."""
    done = mpirun(
        2,
        "-c",
        START + CATCHING.format(call=call),
        env={"PYCOLL_TIMEOUT": "1", "PYCOLL_SHARED_MEMORY": "0"},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "all ranks heard" in done.stdout
    assert any(f"{kind}: rank" in done.stdout for kind in kinds.split("|")), done.stdout
    assert "all ranks must make the same calls" in done.stdout or "gave up" in done.stdout


def test_messages_that_never_come(mpirun: Mpirun) -> None:
    """Without shared memory, too, the error names the peer that does not answer."""
    done = mpirun(
        2,
        "-c",
        START + CATCHING.format(call="comm.all_reduce(np.ones(1000)) if rank == 0 else None"),
        env={"PYCOLL_TIMEOUT": "1", "PYCOLL_SHARED_MEMORY": "0"},
        timeout=60,
    )
    assert "TimeoutError: rank 0: all_reduce (call 1: 1000 x float64): gave up" in done.stdout
    assert "from rank 1" in done.stdout


def test_after_a_failure_the_communicator_is_refused_and_others_work(mpirun: Mpirun) -> None:
    """Each later call says what failed first; a new communicator works."""
    done = mpirun(
        2,
        "-c",
        program(
            """
            other = pycoll.Communicator()
            if rank == 0:
                first = comm.all_reduce(np.ones(3), async_op=True)
                work = comm.recv(np.zeros(1), 1, async_op=True)
                try:
                    first.wait()
                except pycoll.TimeoutError as error:
                    assert "(call 1: 3 x float64): gave up after 1 s" in str(error), error
                    assert "waiting for rank 1 (which has made no call yet)" in str(error), error
                else:
                    raise AssertionError("no timeout")
                for call in (
                    lambda: comm.all_reduce(np.ones(3)),
                    lambda: comm.send(np.ones(3), 1),
                    comm.barrier,
                    lambda: comm.split(0),
                    comm.dup,
                    work.wait,
                ):
                    try:
                        call()
                    except pycoll.CollectiveError as error:
                        assert "gave up after 1 s" in str(error), error
                        assert str(error).startswith("rank 0: "), error
                    else:
                        raise AssertionError("no error")
                comm.close()
                MPI.COMM_WORLD.send(None, 1)
            else:
                MPI.COMM_WORLD.recv()
            with other:
                assert (other.all_reduce(np.ones(3)) == 2).all()
            again = pycoll.Communicator()
            assert (again.all_reduce(np.ones(3)) == 2).all()
            print("went on", flush=True)
            """
        ),
        env={"PYCOLL_TIMEOUT": "1"},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("went on") == 2


def test_memory_of_a_failed_call_is_never_reused(mpirun: Mpirun) -> None:
    """A message that comes after its receiver gave up does not land in anybody else's array."""
    done = mpirun(
        2,
        "-c",
        program(
            """
            if rank == 0:
                try:
                    comm.recv(np.zeros(200_000), 1)
                except pycoll.TimeoutError:
                    pass
                fresh = [np.zeros(200_000) for _ in range(20)]
                MPI.COMM_WORLD.send(None, 1)
                MPI.COMM_WORLD.recv()
                assert not any(array.any() for array in fresh)
                print("untouched", flush=True)
            else:
                MPI.COMM_WORLD.recv()
                work = comm.send(np.ones(200_000), 0, async_op=True)
                while not work.test():
                    MPI.COMM_WORLD.Iprobe()
                MPI.COMM_WORLD.send(None, 0)
            """
        ),
        env={"PYCOLL_TIMEOUT": "2"},
        timeout=60,
    )
    assert "untouched" in done.stdout, done.stderr


def test_a_rank_that_is_killed(mpirun: Mpirun) -> None:
    """The program ends with an error, all of it, though the others wait without a timeout."""
    done = mpirun(
        3,
        "-c",
        program(
            """
            import signal
            comm.barrier()
            if rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            comm.all_reduce(np.ones(3))
            print("went on", flush=True)
            """
        ),
        timeout=60,
    )
    assert done.returncode != 0
    assert "went on" not in done.stdout


def test_an_exception_on_one_rank_ends_with_its_text(mpirun: Mpirun) -> None:
    """The others give up on it in time; the text of the first error is there to be read."""
    done = mpirun(
        2,
        "-c",
        program(
            """
            if rank == 1:
                comm.all_reduce([1, 2])
            comm.all_reduce(np.ones(2))
            """
        ),
        env={"PYCOLL_TIMEOUT": "2"},
        timeout=60,
    )
    assert done.returncode != 0
    assert "TypeError: rank 1: all_reduce: 'array' is a list, not an array" in done.stderr


@pytest.mark.parametrize("joined", [True, False], ids=["by all", "by one rank"])
def test_a_program_that_ends_with_operations_outstanding(mpirun: Mpirun, joined: bool) -> None:
    """It ends: at once when the operations can be completed, and in time when they cannot."""
    done = mpirun(
        2,
        "-c",
        program(
            f"""
            keep = comm.all_reduce(np.ones(100_000), async_op=True)
            if {joined} or rank == 0:
                dropped = comm.all_reduce(np.ones(300_000), async_op=True)
                comm.dup().barrier(async_op=True) if {joined} else None
            print("last line", flush=True)
            """
        ),
        env={"PYCOLL_TIMEOUT": "2"},
        timeout=60,
    )
    assert done.stdout.count("last line") == 2
    assert "Segmentation" not in done.stderr + done.stdout
    if joined:
        assert done.returncode == 0, done.stderr


def test_environment_variable_for_the_timeout(mpirun: Mpirun) -> None:
    """A value that is no number is refused by name."""
    done = mpirun(1, "-c", START, env={"PYCOLL_TIMEOUT": "soon"}, timeout=60)
    assert done.returncode != 0
    assert "ValueError: PYCOLL_TIMEOUT is 'soon'; it must be a number of seconds" in done.stderr
