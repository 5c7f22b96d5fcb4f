"""A model, batches and parameter servers that train in milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import pycoll
from pycoll.train import GPT, SGD, CrossEntropy, GPTConfig, Initializer, Layer, Linear, shard
from pycoll.train.ps import Consistency, ParameterServer

comm = pycoll.world()
SERVERS = 3 if comm.size == 8 else 1
WORKERS = comm.size - SERVERS
VOCABULARY, CONTEXT, SEQUENCES = 7, 5, 11


def nothing(*_: Any) -> None:
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
    """Make steps with this worker's share of each batch; forward in `pushing`, or before it."""
    mine = shard(SEQUENCES, comm.rank, WORKERS)

    def run_forward(step: int) -> tuple[Any, Any]:
        done = forward(model, step, mine)
        after_forward(step)
        return done

    with ps.working() as worker:
        for step in steps:
            before = run_forward(step) if step % 2 else None
            with worker.pushing():
                model.backward(*(before or run_forward(step)))
    assert worker.steps == len(steps)


def require_close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    assert np.abs(actual - expected).max() < tolerance * np.abs(expected).max()


def require_same_on_workers(model: Layer, ps: ParameterServer) -> None:
    gathered = comm.all_gather(values(model)).reshape(comm.size, -1)[ps.workers]
    assert (gathered == gathered[0]).all()


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
        for layer, then in zip(order, (self.between, nothing), strict=True):
            layer.weight.accumulate(np.multiply, np.ones((2, 2)), dy)
            then()
