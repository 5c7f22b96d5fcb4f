"""Ranks that share memory: what it takes, where it is switched off, and several nodes."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from launching import Mpirun

TESTS = Path(__file__).parent
MIB = 2**20


def run_all(mpirun: Mpirun, ranks: int, env: dict[str, str], *options: str) -> None:
    folder = str(TESTS / "ranks")
    done = mpirun(ranks, str(TESTS / "run_ranks.py"), folder, *options, env=env, timeout=200)
    assert done.returncode == 0, f"{done.stdout[-12000:]}\n{done.stderr[-4000:]}"


def test_switched_off(mpirun: Mpirun) -> None:
    """With PYCOLL_SHARED_MEMORY=0, everything goes through MPI, and works."""
    run_all(mpirun, 2, {"PYCOLL_SHARED_MEMORY": "0"})


def test_what_the_kernel_copies(mpirun: Mpirun) -> None:
    """Between any ranks, if they find each other's memory, and take it for no other."""
    program = textwrap.dedent(
        """
        import numpy as np
        from mpi4py import MPI
        import pycoll
        from pycoll import _core
        from pycoll.shared_memory import private
        comm = pycoll.world()
        probes = MPI.COMM_WORLD.allgather(_core.cma_probe())
        able = all(_core.is_across(*probe) for probe in probes)
        able = MPI.COMM_WORLD.allreduce(able, op=MPI.LAND)
        for process, address, word in probes:
            assert not _core.is_across(process, address, word ^ 1)
        chosen, _ = comm._core.chosen("all_reduce", 99_999, "float32", algorithm="direct")
        assert chosen == ("direct" if able else "staged")
        arrays = [private(99_999, np.float32) for _ in range(2)]
        for own in arrays:
            own[:] = np.arange(own.size) + comm.rank
        assert not any(_core.is_registered(own) for own in arrays)
        whole, out = arrays
        expected = np.arange(whole.size, dtype=np.float32)
        assert (comm.all_reduce(whole, out, algorithm="direct") == 3 * expected + 3).all()
        comm.all_to_all(whole, out, algorithm="direct")
        blocks = expected.reshape(3, -1)[comm.rank]
        assert (out.reshape(3, -1) == blocks + np.arange(3)[:, None]).all()
        assert (comm.broadcast(whole, root=1, algorithm="direct") == expected + 1).all()
        if comm.rank == 0:
            print("copied" if able else "forbidden")
        """
    )
    done = mpirun(3, "-c", program, timeout=60)
    if done.stdout.strip() == "forbidden":
        pytest.skip("the kernel may not copy between ranks here")
    assert done.stdout.strip() == "copied", done.stderr


def test_where_the_kernel_copies_nothing(mpirun: Mpirun) -> None:
    """With PYCOLL_CMA=0 on one rank, plain arrays go through the stages, on all."""
    program = textwrap.dedent(
        """
        import os
        from mpi4py import MPI
        if MPI.COMM_WORLD.rank == 1:
            os.environ["PYCOLL_CMA"] = "0"
        import numpy as np
        import pycoll
        from pycoll.shared_memory import private
        comm = pycoll.world()
        array = private(100_000, np.float32)
        array.fill(comm.rank)
        assert (comm.all_reduce(array, algorithm="direct") == 3).all()
        chosen = comm._core.chosen("all_reduce", 100_000, "float32", algorithm="direct")
        all_chosen = MPI.COMM_WORLD.gather(chosen[0])
        if comm.rank == 0:
            print(*all_chosen)
        """
    )
    done = mpirun(3, "-c", program, timeout=60)
    assert done.stdout.split() == ["staged"] * 3, done.stderr


#: Of all tests on ranks, those that depend on nodes, not on how messages travel between them.
BY_NODE = (
    "test_nodes or hierarchical or auto or every_collective or any_order or two_communicators "
    "or rows"
)


@pytest.mark.parametrize(
    ("nodes", "ranks", "check"), [("3+5", 8, 0), ("4x2", 8, 0), ("2+1", 3, 1), ("1+1+1", 3, 0)]
)
def test_several_nodes(mpirun: Mpirun, nodes: str, ranks: int, check: int) -> None:
    """Ranks that take themselves for several nodes compute what NumPy does."""
    run_all(mpirun, ranks, {"PYCOLL_NODES": nodes, "PYCOLL_CHECK": str(check)}, "-k", BY_NODE)


def test_what_carries_the_data(mpirun: Mpirun) -> None:
    """Said by the communicator, as far as there is a choice."""
    program = textwrap.dedent(
        """
        import json
        from mpi4py import MPI
        import pycoll
        comm = pycoll.world()
        all_ranks = MPI.COMM_WORLD.gather(comm.transport)
        if comm.rank == 0:
            print(json.dumps(all_ranks))
        """
    )
    for env, expected in (
        ({}, ["shared memory"] * 3),
        ({"PYCOLL_NODES": "1+2"}, ["mpi", *["shared memory, mpi between nodes"] * 2]),
        ({"PYCOLL_SHARED_MEMORY": "0"}, ["mpi"] * 3),
    ):
        done = mpirun(3, "-c", program, env=env, timeout=60)
        assert json.loads(done.stdout) == expected, done.stderr


MEMORY = textwrap.dedent(
    """
    import json
    import numpy as np
    from mpi4py import MPI
    import pycoll
    from pycoll.shared_memory import private

    def status(name):
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

    comm = pycoll.world()
    array = private(256 * 2**20 // 4, np.float32)
    array.fill(1)
    out = private(array.size, np.float32)
    out.fill(0)
    comm.barrier()
    before = status("VmRSS")
    comm.all_reduce(array, out)
    assert (out[:: 2**16] == comm.size).all()
    growth = MPI.COMM_WORLD.gather(status("VmHWM") - before)
    if comm.rank == 0:
        print(json.dumps(growth))
    """
)


def test_memory_of_a_long_call(mpirun: Mpirun) -> None:
    """A rank needs at most 32 MiB more for an array of 256 MiB that is not registered."""
    done = mpirun(4, "-c", MEMORY, timeout=100)
    assert done.returncode == 0, done.stderr
    growth = json.loads(done.stdout)
    assert len(growth) == 4
    assert max(growth) <= 32 * MIB


def test_registered_memory_is_given_back(mpirun: Mpirun) -> None:
    """What a rank drops, it does not keep, but for a little."""
    program = textwrap.dedent(
        """
        import pycoll

        def shared():
            with open("/proc/self/status") as lines:
                return next(int(x.split()[1]) for x in lines if x.startswith("RssShmem")) / 1024

        comm = pycoll.world()
        before = shared()
        for number in range(6):
            arrays = [comm.zeros(2**20 * 4) for _ in range(8)]
            comm.all_reduce(arrays[number % 8])
            assert shared() - before >= 8 * 16
            del arrays
        comm.barrier()
        assert shared() - before <= 100, shared() - before
        print("given back", flush=True)
        """
    )
    done = mpirun(2, "-c", program, timeout=100)
    assert done.stdout.count("given back") == 2, done.stderr
