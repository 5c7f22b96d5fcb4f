"""Workers that are lost, and arguments that make no sense: all ranks hear of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from small_parameter_server import (
    WORKERS,
    comm,
    forward,
    server_of,
    small_gpt,
    work,
)

from pycoll.train import SGD, Layer, RefusedError
from pycoll.train.ps import (
    BSP,
    SSP,
    ParameterServer,
    RankLostError,
)

if comm.size != 4:
    pytest.skip("runs on 4 ranks", allow_module_level=True)


def stop_in_the_middle(ps: ParameterServer, model: Layer) -> None:
    """Come back when all others have lost patience."""
    saved, dscores = forward(model, 0, slice(None))
    with ps.working() as worker:
        with worker.pushing():
            comm.barrier()
            model.backward(saved, dscores)
        worker.pull()


@pytest.mark.parametrize("ending", ["fails", "is silent", "stops in the middle"])
def test_a_lost_worker_is_named_by_all(ending: str) -> None:
    """One that says so at once, others when patience is over; the communicator works afterwards."""
    model = small_gpt()
    ps = server_of(model, SSP(2), patience=None if ending == "fails" else 1)
    lost = WORKERS - 1

    def after_forward(step: int) -> None:
        if comm.rank == lost and step == 2 and ending == "fails":
            raise ZeroDivisionError

    if ps.is_server:
        why = "failed: see its own error" if ending == "fails" else "was not heard of for 1 s"
        where = 0 if ending == "is silent" else 1 if ending == "stops in the middle" else 2
        expected = rf"server: rank {lost} \(in its step {where}\) {why}"
        with pytest.raises(RankLostError, match=expected):
            ps.serve()
    elif comm.rank != lost:
        with pytest.raises(RankLostError, match=f"rank {lost} is lost"):
            work(ps, model, range(1000))
    elif ending == "fails":
        with pytest.raises(ZeroDivisionError):
            work(ps, model, range(1000), after_forward)
    elif ending == "stops in the middle":
        with pytest.raises(RankLostError, match=f"rank {lost} is lost"):
            stop_in_the_middle(ps, model)
    if ending != "stops in the middle" or comm.rank != lost:
        comm.barrier()
    assert comm.all_reduce(np.ones(1))[0] == comm.size


def test_a_server_that_fails_is_named_by_all() -> None:
    """Here in what the user passed for it to call; other servers hear of it by the workers."""
    model = small_gpt()
    failing = comm.size - 1

    def failing_rate(step: int) -> float:
        return 1 / (2 - step) if comm.rank == failing else 1

    ps = server_of(model, BSP(), learning_rate=failing_rate, servers=2)
    if comm.rank == failing:
        with pytest.raises(ZeroDivisionError):
            ps.serve()
    elif ps.is_server:
        with pytest.raises(RankLostError, match=f"rank {failing} is lost, says rank [01]"):
            ps.serve()
    else:
        with pytest.raises(RankLostError, match=f"rank {failing} is lost, and with it this run"):
            work(ps, model, range(1000))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"servers": 0}, f"servers is 0, but {comm.size} "),
    ({"servers": comm.size}, f"servers is {comm.size}, but {comm.size} "),
    ({"patience": 1e9}, "patience is 1e[+]09 s; it must be above 0 and below"),
    ({"bucket_bytes": 0}, "bucket_bytes must be at least 1"),
    ({"optimizer": partial(SGD, momentum=2)}, "momentum must be in"),
    ({"bucket_bytes": 100 + comm.rank}, "ranks differ in servers, consistency"),
    ({"patience": -1 if comm.rank == comm.size - 1 else 1}, "patience is -1 s"),
]


@pytest.mark.parametrize(("options", "text"), WRONG)
def test_wrong_arguments_are_refused_on_all_ranks(options: dict[str, Any], text: str) -> None:
    with pytest.raises(RefusedError, match=text):
        server_of(small_gpt(), BSP(), **options)


def test_one_rank_is_too_few() -> None:
    alone = comm.split(comm.rank)
    assert alone is not None
    with pytest.raises(RefusedError, match=r"servers is 1, but 1 rank.* start at least 2 ranks"):
        ParameterServer(small_gpt(), alone, SGD, learning_rate=0.1)
