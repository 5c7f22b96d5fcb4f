"""Messages that are too long for one MPI message, and counts beyond 32 bits."""

from __future__ import annotations

import os

import numpy as np
import pytest
from contributions import algorithms_of, bits, contributions, random_bits, reduction
from mpi4py import MPI

import pycoll
from pycoll import _core
from pycoll.work import Work


@pytest.fixture
def cutting(comm: pycoll.Communicator, mpi: MPI.Intracomm) -> pycoll.Communicator:
    """A communicator that cuts messages after 64 bytes, as others do after 1 GiB."""
    other = comm.dup()
    other._core = _core.Communicator(
        mpi.Dup().py2f(),
        timeout=comm.timeout,
        oversubscribed=True,
        model=_core.CostModel(),
        message_bytes=64,
    )
    other._call = other._core.calls(Work)
    return other


BY_MESSAGES = {a.name for a in _core.algorithms() if a.reach == "messages"}


@pytest.mark.parametrize("algorithm", [a for a in algorithms_of("all_reduce") if a in BY_MESSAGES])
def test_reductions_of_messages_in_pieces(cutting: pycoll.Communicator, algorithm: str) -> None:
    """All pieces of all messages arrive where they belong, whatever is left for the last one."""
    for dtype, count in (("float64", 8 * cutting.size), ("int16", 1000), ("uint8", 65)):
        mine = contributions(dtype, "sum", count, cutting.size)[cutting.rank].copy()
        cutting.all_reduce(mine, algorithm=algorithm)
        reduction(dtype, "sum", count, cutting.size).require(mine, (algorithm, dtype, count))


def test_many_messages_in_pieces_at_once(cutting: pycoll.Communicator) -> None:
    """Pieces of operations under way together do not get mixed up."""
    arrays = [random_bits("uint8", count, cutting.size) for count in (1, 63, 64, 65, 128, 1000)]
    works = [cutting.all_gather(array[cutting.rank], async_op=True) for array in arrays]
    for array, work in reversed(list(zip(arrays, works, strict=True))):
        assert bits(work.wait()) == bits(array)


def test_messages_in_pieces_keep_their_order(cutting: pycoll.Communicator) -> None:
    """Messages of one tag, long and short ones."""
    if cutting.size == 1:
        pytest.skip("one rank has no peer")
    right, left = (cutting.rank + 1) % cutting.size, (cutting.rank - 1) % cutting.size
    lengths = (500, 1, 96, 0, 33)
    works = [
        cutting.send(np.full(length, length, np.uint16), right, async_op=True) for length in lengths
    ]
    for length in lengths:
        assert (cutting.recv(np.zeros(length, np.uint16), left) == length).all()
    for work in works:
        work.wait()


@pytest.mark.parametrize(
    ("sent", "expected"), [(100, 90), (90, 100), (64, 70), (70, 64), (300, 64), (0, 64)]
)
def test_messages_of_another_length(cutting: pycoll.Communicator, sent: int, expected: int) -> None:
    """More or less than is expected is an error at once, in whichever piece it shows."""
    if cutting.size == 1:
        pytest.skip("one rank has no peer")
    right, left = (cutting.rank + 1) % cutting.size, (cutting.rank - 1) % cutting.size
    # A failure ends all that is outstanding: what is not yet on its way then is never sent.
    cutting.send(np.zeros(sent, np.uint8), right)
    text = rf"recv from rank {left} .* (more|fewer) than the expected"
    with pytest.raises(pycoll.CollectiveError, match=text):
        cutting.recv(np.zeros(expected, np.uint8), left)


def available_bytes() -> int:
    """0 where the system does not say."""
    if not os.path.exists("/proc/meminfo"):
        return 0
    with open("/proc/meminfo") as lines:
        kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable"))
    return int(kilobytes) * 1024


def test_more_elements_than_32_bits_count(comm: pycoll.Communicator, mpi: MPI.Intracomm) -> None:
    """2^31 + 1001 elements of a byte each, in one message, are reduced right to the last one."""
    if comm.size != 2:
        pytest.skip("at two ranks only, for the time it takes")
    count = 2**31 + 1001
    needed = 6 * count  # an array a rank, as much again for what arrives, and room for MPI
    if mpi.bcast(available_bytes() if mpi.rank == 0 else None) < needed:
        pytest.skip(f"needs {needed / 2**30:.0f} GiB of memory")
    array = np.full(count, comm.rank + 1, np.int8)
    array[-3:] = [100, 50, -128]  # wraps around
    comm.all_reduce(array, algorithm="recursive_doubling")
    assert array[:-3].min() == array[:-3].max() == 3
    np.testing.assert_array_equal(array[-3:], [-56, 100, 0])
