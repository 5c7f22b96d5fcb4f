"""Kinds of calls that do not match, and a program that makes them all and prints what it hears.

Run on every rank of an mpirun: for each kind, all ranks make a fresh communicator, one rank makes
the odd call, and rank 0 prints what each rank heard, as a line of JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

import pycoll

Act = Callable[[pycoll.Communicator], object]

#: Seconds that a communicator has for a call that must fail before, and for one that cannot.
PATIENT, IMPATIENT = 30.0, 0.5


@dataclass(frozen=True)
class Kind:
    """What most ranks do, what one of them does, and what every error must name."""

    most: Act
    odd: Act
    says: list[str]
    #: Whether the odd rank is missing, and is not to hear of it.
    missing: bool = False
    #: What to do about it.
    advice: str = "all ranks must make the same calls in the same order"


def ones(count: int, dtype: str = "float32") -> np.ndarray:
    return np.ones(count, dtype)


def one_after_the_other(*acts: Act) -> Act:
    def run(comm: pycoll.Communicator) -> None:
        for act in acts:
            act(comm)

    return run


def all_reduce(count: int = 100, dtype: str = "float32", **options: object) -> Act:
    return lambda comm: comm.all_reduce(ones(count, dtype), **options)


def registered(count: int) -> Act:
    return lambda comm: comm.all_reduce(comm.zeros(count))


def started(act: Callable[[pycoll.Communicator], pycoll.Work[object]]) -> Act:
    return lambda comm: act(comm).wait()


def again(times: int, act: Act) -> Act:
    return one_after_the_other(*[act] * times)


def barrier(comm: pycoll.Communicator) -> None:
    comm.barrier()


def broadcast(comm: pycoll.Communicator) -> None:
    comm.broadcast(ones(100))


def reduce(comm: pycoll.Communicator) -> None:
    comm.reduce(ones(100))


def nothing(comm: pycoll.Communicator) -> None:
    """The odd rank makes no call."""


def counts(comm: pycoll.Communicator, most: int) -> list[int]:
    return [7 if rank == most else 3 for rank in range(comm.size)]


def all_gather_v(most: int) -> Act:
    return lambda comm: comm.all_gather_v(ones(counts(comm, most)[comm.rank]), counts(comm, most))


def all_to_all_v(*, sent_to_next: int = 2) -> Act:
    """Everybody expects 2 elements from each."""

    def act(comm: pycoll.Communicator) -> None:
        expected = [2] * comm.size
        sent = list(expected)
        sent[(comm.rank + 1) % comm.size] = sent_to_next
        comm.all_to_all_v(ones(sum(sent)), sent, expected)

    return act


FITTING = "what a rank sends to another must be what that one expects from it"
SUM = "all_reduce(float32, 100, sum)"

KINDS: dict[str, Kind] = {
    "broadcast": Kind(
        all_reduce(),
        lambda comm: comm.broadcast(ones(100)),
        [SUM, "broadcast(float32, 100, root 0)"],
    ),
    "reduce": Kind(
        all_reduce(),
        lambda comm: comm.reduce(ones(100)),
        [SUM, "reduce(float32, 100, sum, root 0)"],
    ),
    "barrier": Kind(all_reduce(), barrier, [SUM, "barrier()"]),
    "all_reduce in place of a barrier": Kind(barrier, all_reduce(), [SUM, "barrier()"]),
    "all_gather": Kind(
        lambda comm: comm.gather(ones(10)),
        lambda comm: comm.all_gather(ones(10)),
        ["gather(float32, 10, root 0)", "all_gather(float32, 10)"],
    ),
    "all_to_all": Kind(
        lambda comm: comm.reduce_scatter(ones(4 * comm.size)),
        lambda comm: comm.all_to_all(ones(4 * comm.size)),
        ["reduce_scatter(float32, 4, sum)", "all_to_all(float32, 4)"],
    ),
    "count": Kind(all_reduce(), all_reduce(101), [SUM, "all_reduce(float32, 101, sum)"]),
    "no elements": Kind(all_reduce(), all_reduce(0), [SUM, "all_reduce(float32, 0, sum)"]),
    "long and short": Kind(
        all_reduce(3_000_000), all_reduce(), ["all_reduce(float32, 3000000, sum)", SUM]
    ),
    "registered, of another length": Kind(
        registered(500_000),
        registered(499_999),
        ["all_reduce(float32, 500000, sum)", "all_reduce(float32, 499999, sum)"],
    ),
    "registered and not, of another length": Kind(
        registered(500_000), all_reduce(), ["all_reduce(float32, 500000, sum)", SUM]
    ),
    "dtype": Kind(all_reduce(), all_reduce(dtype="int32"), [SUM, "all_reduce(int32, 100, sum)"]),
    "longer dtype": Kind(
        all_reduce(), all_reduce(dtype="float64"), [SUM, "all_reduce(float64, 100, sum)"]
    ),
    "op": Kind(all_reduce(), all_reduce(op="max"), [SUM, "all_reduce(float32, 100, max)"]),
    "root": Kind(
        lambda comm: comm.broadcast(ones(100), root=1),
        lambda comm: comm.broadcast(ones(100)),
        ["broadcast(float32, 100, root 1)", "broadcast(float32, 100, root 0)"],
    ),
    "root of reduce": Kind(
        lambda comm: comm.reduce(ones(70_000), root=1),
        lambda comm: comm.reduce(ones(70_000)),
        ["reduce(float32, 70000, sum, root 1)", "reduce(float32, 70000, sum, root 0)"],
    ),
    "algorithm": Kind(
        all_reduce(algorithm="ring"),
        all_reduce(algorithm="double_tree"),
        [f"{SUM[:-1]}, algorithm ring)", f"{SUM[:-1]}, algorithm double_tree)"],
    ),
    "algorithm and auto": Kind(
        all_reduce(),
        all_reduce(algorithm="ring"),
        [f"{SUM[:-1]}, algorithm auto)", f"{SUM[:-1]}, algorithm ring)"],
    ),
    "chunk_bytes": Kind(
        all_reduce(chunk_bytes=64),
        all_reduce(chunk_bytes=128),
        [f"{SUM[:-1]}, chunk_bytes 64)", f"{SUM[:-1]}, chunk_bytes 128)"],
    ),
    "counts": Kind(all_gather_v(0), all_gather_v(1), ["all_gather(float32, 0, with other counts)"]),
    "counts and none": Kind(
        all_gather_v(0),
        lambda comm: comm.all_gather(ones(3)),
        ["with other counts)", "all_gather(float32, 3, without counts)"],
    ),
    "sent and expected": Kind(
        all_to_all_v(),
        all_to_all_v(sent_to_next=7),
        ["called all_to_all(float32, 7 for rank ", "called all_to_all(float32, 2 from rank "],
        advice=FITTING,
    ),
    "nothing sent, some expected": Kind(
        one_after_the_other(barrier, all_to_all_v()),
        one_after_the_other(barrier, all_to_all_v(sent_to_next=0)),
        ["float32, 0 for rank ", "as call 2, ", "float32, 2 from rank "],
        advice=FITTING,
    ),
    "one call fewer": Kind(
        one_after_the_other(barrier, all_reduce(), barrier),
        one_after_the_other(barrier, barrier),
        [SUM, "barrier()", "as call 2"],
    ),
    "another order": Kind(
        one_after_the_other(all_reduce(), barrier),
        one_after_the_other(barrier, all_reduce()),
        [SUM, "barrier()", "as call 1"],
    ),
    "started, not waited for": Kind(
        started(lambda comm: comm.all_reduce(ones(100), async_op=True)),
        started(lambda comm: comm.all_reduce(ones(99), async_op=True)),
        [SUM, "all_reduce(float32, 99, sum)"],
    ),
    "split in place of a call": Kind(all_reduce(), lambda comm: comm.split(0), [SUM, "barrier()"]),
    "no call": Kind(all_reduce(), nothing, ["(which has made no call yet)"], missing=True),
    "no call, long": Kind(
        all_reduce(1_000_000), nothing, ["(which has made no call yet)"], missing=True
    ),
    "no call, registered": Kind(
        registered(1_000_000), nothing, ["(which has made no call yet)"], missing=True
    ),
    "no second call": Kind(
        one_after_the_other(all_reduce(), barrier),
        all_reduce(),
        [f"(last seen in call 1, {SUM})"],
        missing=True,
    ),
    "closed": Kind(
        one_after_the_other(barrier, all_reduce()),
        one_after_the_other(barrier, lambda comm: comm.close()),
        ["(last seen in call 1, barrier())"],
        missing=True,
    ),
    # Ranks may run ahead by then, but not by so many calls.
    "after equal broadcasts": Kind(
        again(80, broadcast),
        one_after_the_other(again(5, broadcast), all_reduce()),
        [SUM, "broadcast(float32, 100, root 0)", "as call 6"],
    ),
    "after equal reduces": Kind(
        again(80, reduce),
        one_after_the_other(again(5, reduce), barrier, again(80, reduce)),
        ["reduce(float32, 100, sum, root 0)", "barrier()", "as call 6"],
    ),
}


def odd_rank(kind: str, size: int) -> int:
    """Not always the same rank."""
    return list(KINDS).index(kind) % size


def hear(act: Act, comm: pycoll.Communicator) -> tuple[str, str, float]:
    """Name and text of the error that an act ends in, and how long it took."""
    began = time.monotonic()
    error, text = "none", ""
    try:
        act(comm)
    except pycoll.CollectiveError as caught:
        error, text = type(caught).__name__, str(caught)
    return error, text, time.monotonic() - began


def main() -> None:
    world = MPI.COMM_WORLD
    for name, kind in KINDS.items():
        comm = pycoll.Communicator(timeout=IMPATIENT if kind.missing else PATIENT)
        act = kind.odd if world.rank == odd_rank(name, world.size) else kind.most
        heard = world.gather(hear(act, comm))
        if world.rank == 0:
            print(json.dumps({"kind": name, "heard": heard}), flush=True)
    again = pycoll.Communicator()
    assert (again.all_reduce(ones(3)) == again.size).all()


if __name__ == "__main__":
    main()
