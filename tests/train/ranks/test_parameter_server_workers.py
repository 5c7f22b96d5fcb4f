"""How far apart workers may be, and that they do not wait for more than they must."""

from __future__ import annotations

import time

import numpy as np
import pytest
from small_parameter_server import (
    SEQUENCES,
    WORKERS,
    TwoLayers,
    comm,
    nothing,
    on_one_process,
    require_close,
    require_same_on_workers,
    server_of,
    small_gpt,
    values,
    work,
)

from pycoll.train import SGD, shard
from pycoll.train.ps import (
    ASP,
    BSP,
    SSP,
    Consistency,
    EightBit,
    Release,
)

if comm.size != 4:
    pytest.skip("runs on 4 ranks", allow_module_level=True)

# For what the ranks of a test have to tell each other.
signals = comm.dup()


STRAGGLER, FAST = 0, 1
STEPS = 24


@pytest.mark.parametrize(
    ("consistency", "ahead"), [(BSP(), 0), (SSP(0), 0), (SSP(3), 3), (ASP(), 20)]
)
def test_how_far_workers_get_while_a_straggler_stands_still(
    consistency: Consistency, ahead: int
) -> None:
    """The straggler makes no second step before a fast worker is in the middle of one that far
    ahead; by the log and by the clock, nobody ever gets further ahead than it may.
    """
    log: list[Release] = []
    begun = np.full(STEPS, np.inf)

    def after_forward(step: int) -> None:
        if comm.rank == STRAGGLER and step == 1:
            signals.recv(np.zeros(1), FAST)
        begun[step] = time.monotonic()
        if comm.rank == FAST and step == 1 + ahead:
            signals.send(np.zeros(1), STRAGGLER)

    model = small_gpt()
    ps = server_of(model, consistency)
    if ps.is_server:
        report = ps.serve(log.append)
        leads = [release.step - release.slowest for release in log]
        assert max(leads) == max(report.leads) >= ahead
        if consistency.lead is not None:
            assert max(leads) == consistency.lead
        assert len(leads) == sum(report.pushes.values()) == sum(report.staleness.values())
        # What the straggler's second gradient had not seen: each push of the others meanwhile.
        assert max(report.staleness) >= (0 if consistency.synchronous else ahead)
        assert str(report).startswith(f"{len(leads)} pushes by {WORKERS} workers")
    else:
        work(ps, model, range(STEPS), after_forward)
    require_same_on_workers(model, ps)
    times = comm.all_gather(begun).reshape(comm.size, STEPS)[:WORKERS]
    lead = consistency.lead
    if lead is not None:
        # All had begun a step before anybody was through the first half of one too far ahead.
        assert (times[:, : STEPS - lead - 1].max(axis=0) <= times[:, lead + 1 :].min(axis=0)).all()
    else:
        assert times[FAST, 1 + ahead] < times[STRAGGLER, 1]


def test_pushes_and_pulls_go_on_while_workers_compute() -> None:
    """Worker 1 ends its first backward pass only when worker 0 has run its first layer again, which
    needs the first half of both passes: who pushed or pulled in one go would wait for ever.
    """
    passes = {"forward": 0, "backward": 0}

    def between_forward() -> None:
        passes["forward"] += 1
        if comm.rank == 0 and passes["forward"] == 2:
            for worker in range(1, WORKERS):
                signals.send(np.zeros(1), worker)

    model = TwoLayers(between_forward)
    ps = server_of(model, BSP(), bucket_bytes=1)
    if ps.is_server:
        ps.serve()
        return
    with ps.working() as worker:
        for step in range(3):
            model.between = between_forward
            model.forward(np.ones((1, 2), np.float32))
            model.between = nothing
            if comm.rank > 0 and step == 0:
                model.between = lambda: signals.recv(np.zeros(1), 0)
            with worker.pushing():
                model.backward("first", 1.0)


def test_eight_bits_are_nearly_enough() -> None:
    model = small_gpt()
    ps = server_of(model, BSP(), compression=EightBit(64))
    if ps.is_server:
        ps.serve()
    else:
        work(ps, model, range(20))
        expected = on_one_process(SGD, [slice(None)] * 20)
        require_close(values(model), expected, 1e-3)
        assert np.abs(values(model) - expected).max() > 0


def test_the_others_go_on_when_a_worker_has_made_its_steps() -> None:
    model = small_gpt()
    ps = server_of(model, BSP())
    if ps.is_server:
        report = ps.serve()
        assert report.pushes[0] * 2 == report.pushes[1]
    else:
        work(ps, model, range(3 if comm.rank == 0 else 6))
        rest = slice(shard(SEQUENCES, 0, WORKERS).stop, None)
        require_close(values(model), on_one_process(SGD, [slice(None)] * 3 + [rest] * 3))
    require_same_on_workers(model, ps)
