"""Short calls of all kinds, one after the other: whatever part of the stages each of them uses."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable

import numpy as np
import pytest

import pycoll

#: Elements of 8 bytes: stages of up to 1 KiB lie side by side; from 32 KiB on, nobody runs ahead,
#: and from 64 KiB on calls of plain arrays are no longer short.
COUNTS = (1, 2, 127, 128, 129, 1000, 4096, 4097, 8193)

#: What a rank gives.
Of = Callable[[int], np.ndarray]
Call = Callable[[pycoll.Communicator, int, int, Of], None]


def contribution(count: int, first: float, rank: int) -> np.ndarray:
    return np.arange(count) % 97 + 3.0 * rank + first


def all_reduce(comm: pycoll.Communicator, count: int, root: int, of: Of) -> None:
    total = sum(of(rank) for rank in range(comm.size))
    mine, out = of(comm.rank), np.empty(count)
    comm.all_reduce(mine, out)
    assert (out == total).all()
    assert (comm.all_reduce(mine) == total).all()


def broadcast(comm: pycoll.Communicator, count: int, root: int, of: Of) -> None:
    assert (comm.broadcast(of(comm.rank), root=root) == of(root)).all()


def reduce(comm: pycoll.Communicator, count: int, root: int, of: Of) -> None:
    out = np.empty(count) if comm.rank == root else None
    comm.reduce(of(comm.rank), out, root=root)
    if out is not None:
        assert (out == sum(of(rank) for rank in range(comm.size))).all()


def gather(comm: pycoll.Communicator, count: int, root: int, of: Of) -> None:
    out = np.empty((comm.size, count)) if comm.rank == root else None
    comm.gather(of(comm.rank), out, root=root)
    if out is not None:
        assert (out == [of(rank) for rank in range(comm.size)]).all()


def all_gather(comm: pycoll.Communicator, count: int, root: int, of: Of) -> None:
    out = np.empty((comm.size, count))
    comm.all_gather(of(comm.rank), out)
    assert (out == [of(rank) for rank in range(comm.size)]).all()


def all_to_all(comm: pycoll.Communicator, count: int, root: int, of: Of) -> None:
    out = np.empty((comm.size, count))
    comm.all_to_all(np.stack([of(comm.rank) + peer for peer in range(comm.size)]), out)
    assert (out == [of(rank) + comm.rank for rank in range(comm.size)]).all()


def all_gather_uneven(comm: pycoll.Communicator, count: int, root: int, of: Of) -> None:
    """Some ranks put no more than fits into a short stage, others do."""
    counts = [count // (rank + 1) for rank in range(comm.size)]
    out = np.empty(sum(counts))
    comm.all_gather_v(of(comm.rank)[: counts[comm.rank]], counts, out)
    blocks = [of(rank)[: counts[rank]] for rank in range(comm.size)]
    assert (out == np.concatenate(blocks)).all()


def barrier(comm: pycoll.Communicator, count: int, root: int, of: Of) -> None:
    comm.barrier()


CALLS: tuple[Call, ...] = (
    all_reduce,
    broadcast,
    reduce,
    gather,
    all_gather,
    all_to_all,
    all_gather_uneven,
    barrier,
)


@pytest.mark.parametrize("seed", range(2))
def test_any_after_any(comm: pycoll.Communicator, seed: int) -> None:
    """With ranks that come late now and then, and calls that are outstanding meanwhile."""
    alike, own = random.Random(seed), random.Random(seed * 1000 + comm.rank)
    outstanding: list[tuple[pycoll.Work[np.ndarray], np.ndarray]] = []
    for turn in range(150):
        call, count = alike.choice(CALLS), alike.choice(COUNTS)
        root, repeats = alike.randrange(comm.size), alike.choice((1, 1, 4, 20))
        if own.random() < 0.05:
            time.sleep(own.random() * 0.005)
        if alike.random() < 0.1:
            array = np.full(count, comm.rank + turn, np.float64)
            expected = np.full(count, sum(rank + turn for rank in range(comm.size)), np.float64)
            outstanding.append((comm.all_reduce(array, async_op=True), expected))
        for repeat in range(repeats):
            of = functools.partial(contribution, count, float(turn * 20 + repeat))
            call(comm, count, root, of)
        if len(outstanding) > 2 or own.random() < 0.3:
            for work, result in outstanding:
                assert (work.wait() == result).all()
            outstanding.clear()
    for work, result in outstanding:
        assert (work.wait() == result).all()
