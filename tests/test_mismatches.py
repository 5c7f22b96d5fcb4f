"""Calls that do not match, or are not made: a named error on every rank, never a hang."""

from __future__ import annotations

import functools
import json
import os
import textwrap
from pathlib import Path

import mismatches
import pytest
from launching import Mpirun, run_under_mpirun

#: How many ranks, and where they share no memory, which takes PYCOLL_CHECK.
LAYOUTS = {
    "2": {},
    "3": {},
    "5": {},
    "8": {},
    "3 by messages": {"PYCOLL_SHARED_MEMORY": "0", "PYCOLL_CHECK": "1"},
    "5 on three nodes": {"PYCOLL_NODES": "1+2+2", "PYCOLL_CHECK": "1"},
}


@functools.cache
def heard_on(layout: str) -> dict[str, list[tuple[str, str, float]]]:
    """What each rank heard of each kind, all in one program."""
    done = run_under_mpirun(
        int(layout[0]), str(Path(mismatches.__file__)), timeout=60, env=LAYOUTS[layout]
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["kind"]: line["heard"] for line in lines}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", mismatches.KINDS)
def test_every_rank_hears_of_it(name: str, layout: str) -> None:
    """The error names this rank, the odd one, and both calls; or who is missing, and since when."""
    kind, odd = mismatches.KINDS[name], mismatches.odd_rank(name, int(layout[0]))
    for rank, (error, text, seconds) in enumerate(heard_on(layout)[name]):
        if kind.missing and rank == odd:
            assert error == "none", text
            continue
        assert error == ("TimeoutError" if kind.missing else "CollectiveError"), text
        assert seconds < mismatches.PATIENT, "waited for the deadline"
        assert text.startswith(f"rank {rank}: "), text
        if kind.missing:
            assert f"gave up after {mismatches.IMPATIENT} s, waiting for rank {odd} (" in text
        else:
            assert f"rank {odd} called " in text
            assert kind.advice in text
        for part in kind.says:
            assert part in text


def names_in_shared_memory() -> set[str]:
    """What lies in /dev/shm, without what the MPI itself leaves behind a killed rank."""
    of_mpi = ("mpich_shm", "sm_segment", "vader", "psm", "prrte", "pmix", "osc_rdma", "ucx")
    return {name for name in os.listdir("/dev/shm") if not name.startswith(of_mpi)}


@pytest.mark.parametrize("ranks", [2, 8])
@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(3)", "os.abort()"])
def test_a_rank_that_dies_while_peers_wait(mpirun: Mpirun, end: str, ranks: int) -> None:
    """The program ends with an error, and leaves nothing in /dev/shm."""
    before = names_in_shared_memory()
    done = mpirun(
        ranks,
        "-c",
        textwrap.dedent(
            f"""
            import os
            import pycoll
            comm = pycoll.world()
            assert comm.transport == "shared memory"
            array = comm.zeros(100_000)
            comm.all_reduce(array)
            if comm.rank == 1:
                {end}
            comm.all_reduce(array)
            print("went on", flush=True)
            """
        ),
        env={"PYCOLL_TIMEOUT": "20"},
        timeout=60,
    )
    assert done.returncode != 0
    assert "went on" not in done.stdout
    assert names_in_shared_memory() <= before


def test_a_rank_that_leaves_by_exit(mpirun: Mpirun) -> None:
    """Those who wait give up in time and say who left, and where."""
    done = mpirun(
        3,
        "-c",
        textwrap.dedent(
            """
            import sys
            import numpy as np
            import pycoll
            comm = pycoll.world()
            comm.barrier()
            if comm.rank == 1:
                sys.exit(0)
            comm.all_reduce(np.ones(4))
            """
        ),
        env={"PYCOLL_TIMEOUT": "1"},
        timeout=60,
    )
    assert done.returncode != 0
    assert "waiting for rank 1 (last seen in call 1, barrier())" in done.stderr
