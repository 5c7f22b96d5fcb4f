"""Pipelines of 2, 3 and 4 stages against one process that does everything."""

from __future__ import annotations

import sys
import time
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from small_pipeline import CONTEXT, LAYERS, VOCABULARY, WIDTH, Part, batch

import pycoll
from pycoll.train import (
    SGD,
    AdamW,
    CrossEntropy,
    DataParallel,
    GradientError,
    Initializer,
    Layer,
    Linear,
    Optimizer,
    Parameter,
    Pipeline,
    RefusedError,
    measured_costs,
    plan_pipeline,
    shard,
)
from pycoll.train.report.trace import Trace, tracing

comm = pycoll.world()
# On 8 ranks: two pipelines of four stages, each with half of every batch.
STAGES = {1: 1, 2: 2, 3: 3, 4: 4, 8: 4}.get(comm.size, 0)
COPIES = comm.size // STAGES if STAGES else 0
STEPS = 20
SEQUENCES = 13  # does not divide by anything
pytestmark = pytest.mark.skipif(not STAGES, reason="pipelines are tested on 1, 2, 3, 4, 8 ranks")


Axes = tuple[pycoll.Communicator, pycoll.Communicator]


def make_axes(stages: int) -> Axes:
    """Return new communicators of the pipeline, and of the ranks with the same stage."""
    copy, stage = divmod(comm.rank, stages)
    pipeline, data = comm.split(copy), comm.split(stage)
    assert pipeline is not None
    assert data is not None
    return pipeline, data


@cache
def axes() -> Axes:
    return make_axes(STAGES)


def optimizer_of(parameters: list[tuple[str, Parameter]], dtype: str) -> tuple[Optimizer, float]:
    """Return an optimizer and its learning rate.

    AdamW divides gradients by their own size. In float32 that makes whole steps of the rounding of
    those that are nearly 0 (the keys' biases have none at all), with any way to add them up.
    """
    if dtype == "float32":
        return SGD(parameters, momentum=0.9), 0.01
    return AdamW(parameters, epsilon=1e-5), 0.002


def make(tied: bool, dtype: str = "float32", kind: type[Part] = Part) -> Any:
    return partial(kind, tied=tied, dtype=dtype)


def pipeline_of(schedule: str = "1f1b", micro_batches: int = 4, **options: Any) -> Pipeline:
    options.setdefault("chunks", 2 if schedule == "interleaved" else 1)
    made_as = {key: options.pop(key) for key in ("dtype", "kind") if key in options}
    maker = make(options.pop("tied", False), **made_as)
    return Pipeline(
        maker,
        LAYERS,
        options.pop("comm", axes()[0]),
        CrossEntropy(),
        schedule=schedule,
        micro_batches=micro_batches,
        **options,
    )


@cache
def on_one_process(
    tied: bool, micro_batches: int = 1, dtype: str = "float32"
) -> tuple[dict[str, np.ndarray], list[float]]:
    """Return the parameters after all steps and the losses, without any communication."""
    model, criterion = make(tied, dtype)(range(LAYERS)), CrossEntropy()
    optimizer, rate = optimizer_of(model.named_parameters(), dtype)
    losses = []
    for step in range(STEPS):
        inputs, targets = batch(step, SEQUENCES)
        model.clear_gradients(micro_batches)
        losses.append(0.0)
        for number in range(micro_batches):
            rows = shard(SEQUENCES, number, micro_batches)
            scores, saved = model.forward(inputs[rows])
            loss, saved_loss = criterion.forward(scores, targets[rows])
            model.backward(saved, criterion.backward(saved_loss, 1 / targets.size))
            losses[-1] += loss
        optimizer.step(rate)
    return {name: parameter.data for name, parameter in model.named_parameters()}, losses


def train(
    pipeline: Pipeline, data: pycoll.Communicator | None = None, *, zero: int = 0
) -> list[float]:
    """Make all steps; return the losses."""
    data = data or axes()[1]
    parallel = DataParallel(pipeline.named_parameters(), data, bucket_bytes=1000, zero=zero)
    dtype = pipeline.named_parameters()[0][1].data.dtype.name
    optimizer, rate = optimizer_of(parallel.parameters, dtype)
    losses = []
    for step in range(STEPS):
        inputs, targets = batch(step, SEQUENCES)
        mine = shard(SEQUENCES, data.rank, data.size)
        with parallel.reducing(passes=pipeline.micro_batches):
            loss = pipeline.forward_backward(inputs[mine], targets[mine], 1 / targets.size)
        parallel.step(optimizer, rate)
        losses.append(loss)
    return [float(loss) for loss in comm.all_reduce(np.array(losses))]


def fits(schedule: str, micro_batches: int) -> bool:
    return schedule != "interleaved" or (STAGES > 1 and micro_batches % STAGES == 0)


CASES = [
    (schedule, micro_batches, tied)
    for schedule in ("gpipe", "1f1b", "interleaved")
    for micro_batches in ((1, 3, 4, 8) if COPIES == 1 else (4,))
    for tied in ((False, True) if micro_batches in (3, 4) else (False,))
    if fits(schedule, micro_batches)
]


@pytest.mark.parametrize(("schedule", "micro_batches", "tied"), CASES)
def test_parameters_equal_those_of_one_process(
    schedule: str, micro_batches: int, tied: bool
) -> None:
    """After 20 steps, to 1e-5 of each parameter's greatest element, with uneven micro-batches."""
    pipeline = pipeline_of(schedule, micro_batches, tied=tied)
    losses = train(pipeline)
    expected, expected_losses = on_one_process(tied)
    names = {name for name, _ in pipeline.named_parameters()}
    found = comm.all_reduce(np.array([name in names for name in expected], np.int64))
    assert (found >= COPIES).all(), "a parameter is on no stage"
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    for name, parameter in pipeline.named_parameters():
        bound = 1e-5 * np.abs(expected[name]).max()
        np.testing.assert_allclose(parameter.data, expected[name], rtol=0, atol=bound, err_msg=name)


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b", "interleaved"])
def test_in_double_precision_they_are_closer(schedule: str) -> None:
    """Another batch or another sum would differ by much more than rounding; ZeRO-1 on top."""
    micro_batches = 2 * STAGES
    if not fits(schedule, micro_batches):
        pytest.skip("one stage does not interleave")
    pipeline = pipeline_of(schedule, micro_batches, tied=True, dtype="float64")
    train(pipeline, zero=1)
    expected, _ = on_one_process(True, 1, "float64")
    for name, parameter in pipeline.named_parameters():
        assert parameter.data.dtype == np.float64
        bound = 1e-11 * np.abs(expected[name]).max()
        np.testing.assert_allclose(parameter.data, expected[name], rtol=0, atol=bound, err_msg=name)


@pytest.mark.skipif(COPIES != 1, reason="data parallelism adds up in another order")
@pytest.mark.parametrize("schedule", ["gpipe", "1f1b", "interleaved"])
def test_all_schedules_lead_to_the_bits_of_one_process(schedule: str) -> None:
    """One that works on the same micro-batches: each schedule adds gradients in their order."""
    micro_batches = STAGES if schedule == "interleaved" else 4
    if not fits(schedule, micro_batches):
        pytest.skip("one stage does not interleave")
    pipeline = pipeline_of(schedule, micro_batches)
    train(pipeline)
    expected, _ = on_one_process(False, micro_batches)
    for name, parameter in pipeline.named_parameters():
        np.testing.assert_array_equal(parameter.data, expected[name], err_msg=name)


@pytest.mark.skipif(STAGES == 1, reason="one stage has one copy")
@pytest.mark.parametrize("zero", [0, 1])
def test_copies_of_a_shared_parameter_keep_the_same_bits(
    zero: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On 8 ranks with 4 of each of 2 stages, by a ring: its order of adding depends on the place.

    In buckets with other gradients the copies would be added up in different orders.
    """
    monkeypatch.setenv("PYCOLL_ALGORITHM", "all_reduce:ring")
    ring, data = make_axes(2 if comm.size == 8 else STAGES)
    pipeline = pipeline_of(tied=True, comm=ring)
    train(pipeline, data, zero=zero)
    copies = [p for name, p in pipeline.named_parameters() if name == "tokens.weight"]
    held = copies[0].data if copies else np.zeros((VOCABULARY, WIDTH), np.float32)
    # The last stage's against the first one's.
    first = pipeline.comm.broadcast(held.copy(), root=0)
    assert len(copies) == (pipeline.stage in (0, pipeline.stages - 1))
    if copies:
        np.testing.assert_array_equal(first, held)


@pytest.mark.parametrize("tied", [False, True])
def test_evaluation_gives_the_loss_and_leaves_gradients_alone(tied: bool) -> None:
    pipeline = pipeline_of(tied=tied)
    inputs, targets = batch(0, 5)
    loss = axes()[0].all_reduce(np.array([pipeline.evaluate(inputs, targets)]))
    scores, _ = make(tied)(range(LAYERS)).forward(inputs)
    assert loss[0] == pytest.approx(CrossEntropy().forward(scores, targets)[0], rel=1e-5)
    assert not any(parameter.grad.any() for _, parameter in pipeline.named_parameters())


def test_batches_of_other_shapes_follow_each_other() -> None:
    """Also more micro-batches than sequences: some are empty then."""
    pipeline = pipeline_of(micro_batches=4)
    model = make(False)(range(LAYERS))
    for sequences, length in ((5, CONTEXT), (2, CONTEXT), (9, 3), (5, CONTEXT), (0, 2)):
        inputs, targets = (array[:, :length] for array in batch(1, sequences))
        pipeline.clear_gradients()
        found = pipeline.forward_backward(inputs, targets, 1.0)
        model.clear_gradients()
        scores, saved = model.forward(inputs)
        loss, saved_loss = CrossEntropy().forward(scores, targets)
        model.backward(saved, CrossEntropy().backward(saved_loss, 1.0))
        if pipeline.stage == STAGES - 1:
            assert found == pytest.approx(loss, rel=1e-5)
        expected = dict(model.named_parameters())
        for name, parameter in pipeline.named_parameters():
            gradient = expected[name].grad
            bound = 1e-4 * max(1.0, np.abs(gradient).max())
            np.testing.assert_allclose(parameter.grad, gradient, rtol=0, atol=bound, err_msg=name)


def passes(trace: Trace) -> list[str]:
    return [event.name for event in trace.events if event.category == "compute"]


def note_passes(complete: dict[str, int], name: str, trace: Trace) -> None:
    complete[name] = len(passes(trace))


def test_gradients_are_complete_in_the_last_backward_pass_from_the_last_layer_on() -> None:
    """So that data parallelism reduces them while the rest of that pass goes on."""
    pipeline = pipeline_of(micro_batches=4)
    complete: dict[str, int] = {}  # after how many passes
    parameters = pipeline.named_parameters()
    pipeline.clear_gradients()
    with tracing(Trace(pipeline.comm)) as trace:
        for name, parameter in parameters:
            parameter.on_complete = partial(note_passes, complete, name, trace)
        pipeline.forward_backward(*batch(0, 8), 1.0)
    assert passes(trace)[-1] == "backward 3"
    assert complete == {name: len(passes(trace)) - 1 for name, _ in parameters}
    layers = [name.partition(".")[0] for name, _ in parameters]
    first_seen = list(dict.fromkeys(name.partition(".")[0] for name in complete))
    assert first_seen == list(dict.fromkeys(reversed(layers)))


class Counting(Part):
    """Counts the forward passes of this stage that wait for their backward pass."""

    waiting = most = 0

    def forward(self, x: Any) -> tuple[Any, Any]:
        Counting.waiting += 1
        Counting.most = max(Counting.most, Counting.waiting)
        return super().forward(x)

    def backward(self, saved: Any, dy: Any) -> Any:
        Counting.waiting -= 1
        return super().backward(saved, dy)


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b", "interleaved"])
def test_messages_and_activations_are_those_of_the_plan(schedule: str) -> None:
    """Once shapes are known, a step sends as many bytes as the plan has messages."""
    micro_batches = 2 * STAGES
    if not fits(schedule, micro_batches):
        pytest.skip("one stage does not interleave")
    pipeline = pipeline_of(schedule, micro_batches, kind=Counting)
    Counting.waiting = Counting.most = 0
    sent = []
    for _ in range(3):
        before = pipeline.comm.sent_bytes
        pipeline.clear_gradients()
        pipeline.forward_backward(*batch(0, 2 * micro_batches), 1.0)
        sent.append(pipeline.comm.sent_bytes - before)
    plan = plan_pipeline(schedule, STAGES, micro_batches, pipeline.chunks).simulation
    assert sent[1] == sent[2] == plan.messages[pipeline.stage] * 2 * CONTEXT * WIDTH * 4
    assert Counting.waiting == 0
    assert Counting.most == plan.peaks[pipeline.stage]


class Sleeping(Layer):
    """Takes as long as it is told, without a core."""

    def __init__(self, layers: int) -> None:
        self.forward_seconds, self.backward_seconds = 0.01 * layers, 0.02 * layers

    def forward(self, x: Any) -> tuple[Any, Any]:
        time.sleep(self.forward_seconds)
        return x.copy(), None

    def backward(self, saved: Any, dy: Any) -> Any:
        time.sleep(self.backward_seconds)
        return dy.copy()


class Square:
    """A loss without scores of classes."""

    def forward(self, y: Any, targets: Any) -> tuple[float, Any]:
        return float((y * y).sum() / 2), y

    def backward(self, saved: Any, dy: float) -> Any:
        return saved * dy


def measured_bubble(pipeline: Pipeline) -> float:
    """Return the share of the time from the first start to the last end that stages are idle."""
    batch = np.ones((pipeline.micro_batches, 3), np.float32)
    with tracing(Trace(pipeline.comm)) as trace:
        pipeline.forward_backward(batch, batch, 1.0)
    spans = [(e.begin, e.end) for e in trace.events if e.category == "compute"]
    own = np.array([spans[0][0], spans[-1][1], sum(end - begin for begin, end in spans)])
    first, last, busy = pipeline.comm.all_gather(own).reshape(-1, 3).T
    return float(1 - busy.sum() / ((last.max() - first.min()) * pipeline.stages))


@pytest.mark.skipif(COPIES != 1 or STAGES == 1, reason="one pipeline of several stages")
@pytest.mark.parametrize("schedule", ["gpipe", "1f1b", "interleaved"])
def test_measured_bubble_agrees_with_theory(schedule: str) -> None:
    """To 0.05 in the quietest of up to 8 runs: what else the machine does only makes it longer.

    Never shorter: stages do what they do in an order that allows no smaller bubble.
    """
    chunks = 2 if schedule == "interleaved" else 1
    pipeline = Pipeline(
        lambda part: Sleeping(len(part)),
        STAGES * 2,
        axes()[0],
        Square(),
        schedule=schedule,
        micro_batches=STAGES,
        chunks=chunks,
        costs=[1.0] * (STAGES * 2),
    )
    theory = plan_pipeline(schedule, STAGES, STAGES, chunks).ideal_bubble
    bubbles = []
    for _ in range(8):
        bubbles.append(measured_bubble(pipeline))
        if abs(bubbles[-1] - theory) < 0.05:
            break
    assert abs(bubbles[-1] - theory) < 0.05, (bubbles, theory)


def test_layers_are_shared_out_by_measured_cost() -> None:
    """The slow layer is alone on a stage, on all ranks alike."""
    slow = 3

    class Work(Layer):
        def __init__(self, part: range) -> None:
            self.part = part

        def forward(self, x: Any) -> tuple[Any, Any]:
            time.sleep(0.02 * (slow in self.part))
            return x.copy(), None

        def backward(self, saved: Any, dy: Any) -> Any:
            return dy.copy()

    costs = measured_costs(Work, 6, axes()[0], np.ones(3, np.float32))
    assert max(range(6), key=costs.__getitem__) == slow
    assert costs[slow] > 0.02
    gathered = axes()[0].all_gather(np.array(costs)).reshape(STAGES, 6)
    assert (gathered == costs).all()
    if STAGES >= 3:
        pipeline = Pipeline(Work, 6, axes()[0], Square(), micro_batches=2, costs=costs)
        assert range(slow, slow + 1) in pipeline.parts


def test_a_layer_that_cannot_be_measured_is_refused_on_all_ranks() -> None:
    def wrong(part: range) -> Layer:
        return Linear(Initializer(0), 4, 4)

    with pytest.raises(RefusedError, match=r"matmul|shapes|reshape"):
        measured_costs(wrong, 2, axes()[0], np.ones((2, 3), np.float32))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"schedule": "zigzag"}, "unknown schedule 'zigzag'; choose from gpipe, 1f1b"),
        ({"schedule": "forward_only"}, "forward_only does not train"),
        ({"micro_batches": 0}, "'micro_batches' is 0; it must be at least 1"),
        ({"chunks": 2}, "1f1b has one chunk of layers per stage, not 2; choose interleaved"),
        ({"schedule": "interleaved", "chunks": 1}, "interleaved needs at least 2 chunks"),
        ({"costs": [1.0, 2.0]}, "there are 2 costs for 8 layers"),
        ({"costs": [-1.0] * 8}, "costs must be finite and not negative"),
        (
            {"schedule": "interleaved", "chunks": 9, "micro_batches": 12},
            rf"8 layers cannot be shared out among {STAGES} stages? of 9 chunks each: use a",
        ),
    ],
)
def test_wrong_configurations_are_refused_on_all_ranks(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        pipeline_of(**wrong)


@pytest.mark.skipif(STAGES < 3, reason="1 and 2 divide all numbers that are of use here")
def test_micro_batches_that_do_not_divide_are_refused_on_all_ranks() -> None:
    with pytest.raises(RefusedError, match=f"a multiple of the {STAGES} stages .* not 5"):
        pipeline_of("interleaved", 5)


def test_fewer_layers_than_stages_are_refused_on_all_ranks() -> None:
    if STAGES == 1:
        pytest.skip("one layer is enough for one stage")
    with pytest.raises(RefusedError, match=f"1 layers? .* {STAGES} stages: use at most 1 stage"):
        Pipeline(make(False), 1, axes()[0], CrossEntropy(), micro_batches=2)


@pytest.mark.skipif(STAGES == 1, reason="one rank agrees with itself")
def test_ranks_that_ask_for_different_pipelines_are_told_on_all_ranks() -> None:
    last = axes()[0].rank == STAGES - 1
    text = f"'schedule' is '1f1b' on rank 0, but 'gpipe' on rank {STAGES - 1}; all ranks"
    with pytest.raises(RefusedError, match=text):
        pipeline_of("gpipe" if last else "1f1b")
    train(pipeline_of())  # the communicator still works


def test_a_parameter_in_three_parts_is_refused_on_all_ranks() -> None:
    def same(part: range) -> Layer:
        return Linear(Initializer(0), 3, 3)

    if STAGES < 3:
        pytest.skip("two stages may share a parameter")
    with pytest.raises(RefusedError, match=r"weight would be in parts .* on stages 0, 1, 2"):
        Pipeline(same, STAGES, axes()[0], Square(), micro_batches=2)


@pytest.mark.skipif(STAGES == 1, reason="nothing is shared")
def test_gradients_that_were_cleared_for_other_passes_are_named() -> None:
    """On the stages that share a parameter before they wait for each other."""
    pipeline = pipeline_of(micro_batches=4, tied=True)
    for _, parameter in pipeline.named_parameters():
        parameter.clear_gradient(passes=5)
    if pipeline.stage in (0, STAGES - 1):
        with pytest.raises(GradientError, match=r"rank \d: 1 contribution.* tokens.weight are mis"):
            pipeline.forward_backward(*batch(0, 8), 1.0)
    else:
        pipeline.forward_backward(*batch(0, 8), 1.0)
