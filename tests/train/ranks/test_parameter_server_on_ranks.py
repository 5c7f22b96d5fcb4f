"""Parameter servers: equal to one process where synchronous, bounded where not, and their ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import pycoll
from pycoll.train import (
    GPT,
    SGD,
    AdamW,
    CrossEntropy,
    GPTConfig,
    GradientError,
    Initializer,
    Layer,
    Linear,
    RefusedError,
    shard,
)
from pycoll.train.ps import (
    ASP,
    BSP,
    SSP,
    Consistency,
    EightBit,
    ParameterServer,
    Release,
    TopK,
    WorkerLostError,
)

comm = pycoll.world()
# For what the ranks of a test have to tell each other.
signals = comm.dup()
# With one worker, and with several servers.
on_2_or_8 = pytest.mark.skipif(comm.size not in (2, 8), reason="runs on 2 and 8 ranks")
on_2 = pytest.mark.skipif(comm.size != 2, reason="runs on 2 ranks")
# With 3 workers.
on_4 = pytest.mark.skipif(comm.size != 4, reason="runs on 4 ranks")

SERVERS = 3 if comm.size == 8 else 1
WORKERS = comm.size - SERVERS
VOCABULARY, CONTEXT, SEQUENCES = 7, 5, 11


def nothing(step: int) -> None:
    pass


def small_gpt(dtype: str = "float32") -> GPT:
    config = GPTConfig(VOCABULARY, context=CONTEXT, width=8, heads=2, layers=1, tied=True)
    return GPT(config, Initializer(0, dtype))


def forward(model: Layer, step: int, share: slice) -> tuple[Any, Any]:
    """Return what backward needs for some sequences of the batch of a step."""
    tokens = np.random.default_rng(step).integers(VOCABULARY, size=(SEQUENCES, CONTEXT + 1))[share]
    scores, saved = model.forward(tokens[:, :-1])
    _, saved_loss = CrossEntropy().forward(scores, tokens[:, 1:])
    return saved, CrossEntropy().backward(saved_loss, 1 / SEQUENCES)


def values(model: Layer) -> np.ndarray:
    return np.concatenate([p.data.reshape(-1) for _, p in model.named_parameters()])


def rate(step: int) -> float:
    return 0.05 / (1 + step)


def on_one_process(optimizer: Callable[..., Any], shares: list[slice]) -> np.ndarray:
    """Return the parameters after as many steps as there are shares of their batches."""
    model = small_gpt()
    made = optimizer(model.named_parameters())
    for step, share in enumerate(shares):
        model.clear_gradients()
        saved, dscores = forward(model, step, share)
        model.backward(saved, dscores)
        made.step(rate(step))
    return values(model)


def server_of(model: Layer, consistency: Consistency, **options: Any) -> ParameterServer:
    chosen = {"servers": SERVERS, "bucket_bytes": 1000, "learning_rate": rate} | options
    optimizer = chosen.pop("optimizer", SGD)
    return ParameterServer(model, comm, optimizer, consistency=consistency, **chosen)


def work(
    ps: ParameterServer,
    model: Layer,
    steps: range,
    after_forward: Callable[[int], None] = nothing,
) -> None:
    """Make steps with this worker's share of each batch."""
    mine = shard(SEQUENCES, comm.rank, WORKERS)
    with ps.working() as worker:
        for step in steps:
            saved, dscores = forward(model, step, mine)
            after_forward(step)
            with worker.pushing():
                model.backward(saved, dscores)
    assert worker.steps == len(steps)


def require_close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    assert np.abs(actual - expected).max() < tolerance * np.abs(expected).max()


def require_same_on_workers(model: Layer, ps: ParameterServer) -> None:
    gathered = comm.all_gather(values(model)).reshape(comm.size, -1)[ps.workers]
    assert (gathered == gathered[0]).all()


@on_2_or_8
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (partial(SGD, momentum=0.9, nesterov=True, weight_decay=0.1), {"bucket_bytes": 100}),
        (partial(AdamW, weight_decay=0.1, epsilon=1e-4), {"compression": TopK(1.0)}),
    ],
)
def test_bsp_equals_one_process(optimizer: Callable[..., Any], options: dict[str, Any]) -> None:
    """20 steps in two runs, with a schedule and weight decay, on buckets cut between servers."""
    model = small_gpt()
    ps = server_of(model, BSP(), optimizer=optimizer, **options)
    for steps in (range(5), range(5, 20)):
        if ps.is_server:
            report = ps.serve()
            assert set(report.staleness) == set(report.leads) == {0}
            assert len(set(report.pushes.values())) == 1
        else:
            work(ps, model, steps)
    require_same_on_workers(model, ps)
    if not ps.is_server:
        require_close(values(model), on_one_process(optimizer, [slice(None)] * 20))


@on_4
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


@on_4
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


STRAGGLER, FAST = 0, 1
STEPS = 24


@on_4
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
        if comm.rank == FAST and step == 1 + ahead:
            signals.send(np.zeros(1), STRAGGLER)
        if comm.rank == STRAGGLER and step == 1:
            signals.recv(np.zeros(1), FAST)
        begun[step] = time.monotonic()

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


class TwoLayers(Layer):
    """Tells when each layer runs; writes its gradients in the order that it is told."""

    def __init__(self, between: Callable[[], None]) -> None:
        init = Initializer(0)
        self.first = Linear(init, 2, 2, bias=False)
        self.second = Linear(init, 2, 2, bias=False)
        self.between = between

    def forward(self, x: Any) -> tuple[Any, Any]:
        y, _ = self.first.forward(x)
        self.between()
        return self.second.forward(y)

    def backward(self, saved: Any, dy: Any) -> None:
        order = [self.first, self.second] if saved == "first" else [self.second, self.first]
        for layer, then in zip(order, (self.between, nothing_at_all), strict=True):
            layer.weight.accumulate(np.multiply, np.ones((2, 2)), dy)
            then()


def nothing_at_all() -> None:
    pass


@on_4
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
            model.between = nothing_at_all
            if comm.rank > 0 and step == 0:
                model.between = lambda: signals.recv(np.zeros(1), 0)
            with worker.pushing():
                model.backward("first", 1.0)


def stop_in_the_middle(ps: ParameterServer, model: Layer) -> None:
    """Come back when all others have lost patience."""
    saved, dscores = forward(model, 0, slice(None))
    with ps.working() as worker:
        with worker.pushing():
            comm.barrier()
            model.backward(saved, dscores)
        worker.pull()


@on_4
@pytest.mark.parametrize("ending", ["fails", "is silent", "stops in the middle"])
def test_a_lost_worker_is_named_by_all(ending: str) -> None:
    """With patience of 0.5 s; the communicator works afterwards."""
    model = small_gpt()
    ps = server_of(model, SSP(2), patience=0.5)
    lost = WORKERS - 1

    def after_forward(step: int) -> None:
        if comm.rank == lost and step == 2 and ending == "fails":
            raise ZeroDivisionError

    if ps.is_server:
        why = "failed: see its own error" if ending == "fails" else "was not heard of for 0.5 s"
        where = 0 if ending == "is silent" else 1 if ending == "stops in the middle" else 2
        expected = rf"server: worker rank {lost} \(in its step {where}\) {why}"
        with pytest.raises(WorkerLostError, match=expected):
            ps.serve()
    elif comm.rank != lost:
        with pytest.raises(WorkerLostError, match=f"worker rank {lost} is lost"):
            work(ps, model, range(1000))
    elif ending == "fails":
        with pytest.raises(ZeroDivisionError):
            work(ps, model, range(1000), after_forward)
    elif ending == "stops in the middle":
        with pytest.raises(WorkerLostError, match=f"worker rank {lost} is lost"):
            stop_in_the_middle(ps, model)
    if ending != "stops in the middle" or comm.rank != lost:
        comm.barrier()
    assert comm.all_reduce(np.ones(1))[0] == comm.size


class Sneaky(Layer):
    """Uses the weight of a layer whose ``forward`` it never calls."""

    def __init__(self) -> None:
        self.inner = Linear(Initializer(0), 2, 2, bias=False)

    def forward(self, x: Any) -> tuple[Any, Any]:
        return x @ self.inner.weight.data, x

    def backward(self, saved: Any, dy: Any) -> None:
        self.inner.backward(saved, dy)


@on_2
@pytest.mark.parametrize("pulls", [False, True])
def test_parameters_that_are_used_without_forward_must_be_pulled(pulls: bool) -> None:
    model = Sneaky()
    ps = server_of(model, BSP())

    def two_steps() -> None:
        with ps.working() as worker:
            for _ in range(2):
                if pulls:
                    worker.pull()
                y, saved = model.forward(np.ones((1, 2), np.float32))
                with worker.pushing():
                    model.backward(saved, y)

    run = ps.serve if ps.is_server else two_steps
    if pulls:
        run()
    else:
        text = "was lost|is lost|failed" if ps.is_server else "that owns inner.weight; call pull"
        with pytest.raises(RuntimeError, match=f"{text}|is lost"):
            run()


@on_2
def test_a_missing_gradient_is_named() -> None:
    model = TwoLayers(nothing_at_all)
    ps = server_of(model, ASP())
    if ps.is_server:
        with pytest.raises(WorkerLostError, match="failed"):
            ps.serve()
    else:
        with (
            pytest.raises((GradientError, WorkerLostError), match=r"second\.weight|is lost"),
            ps.working() as worker,
            worker.pushing(),
        ):
            model.first.weight.accumulate(np.multiply, np.ones((2, 2)), 1.0)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"servers": 0}, f"servers is 0, but {comm.size} "),
    ({"servers": comm.size}, f"servers is {comm.size}, but {comm.size} "),
    ({"patience": 1e9}, "patience is 1e[+]09 s; it must be above 0 and below"),
    ({"bucket_bytes": 0}, "bucket_bytes must be at least 1"),
    ({"optimizer": partial(SGD, momentum=2)}, "momentum must be in"),
    ({"bucket_bytes": 100 + comm.rank}, "ranks differ in servers, consistency"),
    ({"patience": -1 if comm.rank == comm.size - 1 else 1}, "patience is -1 s"),
]


@on_4
@pytest.mark.parametrize(("options", "text"), WRONG)
def test_wrong_arguments_are_refused_on_all_ranks(options: dict[str, Any], text: str) -> None:
    with pytest.raises(RefusedError, match=text):
        server_of(small_gpt(), BSP(), **options)


@pytest.mark.skipif(comm.size > 2, reason="runs on 1 and 2 ranks")
def test_wrong_uses_are_refused() -> None:
    if comm.size == 1:
        with pytest.raises(RefusedError, match="start at least 2 ranks"):
            server_of(small_gpt(), BSP())
        return
    ps = server_of(small_gpt(), BSP())
    if ps.is_server:
        with pytest.raises(RuntimeError, match="rank 1 is a server; call serve"), ps.working():
            pass
    else:
        with pytest.raises(RuntimeError, match="rank 0 is a worker; call working"):
            ps.serve()
