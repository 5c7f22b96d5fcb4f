"""Schedules of pipelines: right and as long as theory says; wrong ones are noticed."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from pycoll.train.pipeline_parallel.plan import plan_pipeline
from pycoll.train.pipeline_parallel.schedules import (
    SCHEDULES,
    check_request,
    pipeline_steps,
    stage_steps,
)
from pycoll.train.pipeline_parallel.simulation import Costs, PipelineError, simulate
from pycoll.train.pipeline_parallel.step import Step

TRAINING = [name for name, schedule in SCHEDULES.items() if schedule.trains]


def fits(name: str, stages: int, micro_batches: int, chunks: int) -> bool:
    try:
        check_request(name, stages, micro_batches, chunks)
    except ValueError:
        return False
    return True


SIZES = [
    sizes
    for sizes in product(SCHEDULES, (1, 2, 3, 4, 5, 8), (1, 2, 3, 4, 6, 8, 15, 16), (1, 2, 3))
    if fits(*sizes)
]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_right_and_as_long_as_theory_says(name: str) -> None:
    """`plan_pipeline` proves; here times and memory are checked against the papers' formulas."""
    sizes = [each[1:] for each in SIZES if each[0] == name]
    assert len(sizes) > 40
    for stages, micro_batches, chunks in sizes:
        plan = plan_pipeline(name, stages, micro_batches, chunks, Costs(1.5, 2.75))
        what = name, stages, micro_batches, chunks
        if name != "forward_only" or chunks == 1:
            ideal = (stages - 1) / (chunks * micro_batches + stages - 1)
            assert plan.simulation.bubble == pytest.approx(ideal, abs=1e-12), what
            assert plan.ideal_bubble == pytest.approx(ideal), what
            work = micro_batches * (4.25 if name != "forward_only" else 1.5)
            assert plan.simulation.seconds == pytest.approx(work / (1 - ideal)), what
        peaks = plan.simulation.peaks
        if name == "gpipe":
            assert peaks == [micro_batches] * stages, what
        elif name == "1f1b":
            assert peaks == [min(micro_batches, stages - stage) for stage in range(stages)], what
        elif name == "interleaved":
            ahead = [(chunks - 1) * stages + 2 * (stages - s - 1) + 1 for s in range(stages)]
            assert peaks == [min(micro_batches * chunks, most) for most in ahead], what
        per_boundary = micro_batches * (2 if name != "forward_only" else 1)
        boundaries = stages * chunks - 1 if stages > 1 else 0
        assert sum(plan.simulation.messages) == per_boundary * boundaries, what


def test_interleaved_written_out() -> None:
    """The first stage of 4 with 2 chunks and 8 micro-batches, up to the first backward pass."""
    steps = [step for step in stage_steps("interleaved", 0, 4, 8, 2) if not step.is_message]
    assert [(step.kind, step.micro_batch, step.chunk) for step in steps[:14]] == [
        *(("forward", micro_batch, 0) for micro_batch in (0, 1, 2, 3)),
        *(("forward", micro_batch, 1) for micro_batch in (0, 1, 2, 3)),
        *(("forward", micro_batch, 0) for micro_batch in (4, 5, 6)),
        ("backward", 0, 1),
        ("forward", 7, 0),
        ("backward", 1, 1),
    ]


def test_messages_take_time() -> None:
    """One micro-batch goes there and back; nothing hides its messages."""
    plan = plan_pipeline("1f1b", 3, 1, costs=Costs(forward=1, backward=2, message=0.25))
    assert plan.simulation.seconds == 3 * 1 + 3 * 2 + 4 * 0.25
    assert plan.simulation.timeline[1][0] == (0, 1.25)


# Interleaved: every pair of stages exchanges both kinds of messages in both directions.
RIGHT = pipeline_steps("interleaved", 2, 4, 2)
PLACES = [(stage, number) for stage, own in enumerate(RIGHT) for number in range(len(own))]


def run(steps: list[list[Step]]) -> None:
    simulate(steps, 4, 2)


def changed(stage: int, number: int, *instead: Step) -> list[list[Step]]:
    steps = [list(own) for own in RIGHT]
    steps[stage][number : number + 1] = instead
    return steps


def test_every_missing_step_is_noticed() -> None:
    run(RIGHT)
    for stage, number in PLACES:
        with pytest.raises(PipelineError):
            run(changed(stage, number))


def test_every_doubled_step_is_noticed() -> None:
    for stage, number in PLACES:
        step = RIGHT[stage][number]
        with pytest.raises(PipelineError):
            run(changed(stage, number, step, step))


@pytest.mark.parametrize("field", ["micro_batch", "chunk"])
def test_every_step_on_something_else_is_noticed(field: str) -> None:
    for stage, number in PLACES:
        step = RIGHT[stage][number]
        other = (getattr(step, field) + 1) % (4 if field == "micro_batch" else 2)
        with pytest.raises(PipelineError):
            run(changed(stage, number, replace(step, **{field: other})))


@pytest.mark.parametrize("peer", [-1, 2])
def test_messages_to_nobody_are_noticed(peer: int) -> None:
    for stage, number in PLACES:
        step = RIGHT[stage][number]
        if step.is_message:
            with pytest.raises(PipelineError, match="there is no such other stage"):
                run(changed(stage, number, replace(step, peer=peer)))


def test_messages_of_three_stages_to_the_wrong_one_are_noticed() -> None:
    right = pipeline_steps("1f1b", 3, 2)
    for stage, own in enumerate(right):
        for number, step in enumerate(own):
            if step.peer is None:
                continue
            steps = [list(each) for each in right]
            wrong = next(other for other in range(3) if other not in (stage, step.peer))
            steps[stage][number] = replace(step, peer=wrong)
            with pytest.raises(PipelineError):
                simulate(steps, 2)


def test_messages_in_another_order_than_they_are_received_are_noticed() -> None:
    steps = [list(own) for own in pipeline_steps("gpipe", 2, 2)]
    sends = [n for n, step in enumerate(steps[0]) if step.kind == "send_activation"]
    first, second = steps[0][sends[0]], steps[0][sends[1]]
    steps[0][sends[1]] = first
    del steps[0][sends[0]]
    steps[0].insert(sends[1] - 1, second)
    with pytest.raises(PipelineError, match=r"the activation 1 of part 0 arrives, not the act.* 0"):
        simulate(steps, 2)


def test_stages_that_wait_for_each_other_are_named() -> None:
    """Each wants the other's message before it sends its own."""
    steps = [
        [
            Step("recv_gradient", 0, peer=1),
            Step("forward", 0),
            Step("send_activation", 0, peer=1),
            Step("backward", 0),
        ],
        [
            Step("recv_activation", 0, peer=0),
            Step("forward", 0),
            Step("backward", 0),
            Step("send_gradient", 0, peer=0),
        ],
    ]
    text = "wait for ever: stage 0: recv gradient 0 from stage 1; stage 1: recv activation 0 from"
    with pytest.raises(PipelineError, match=text):
        simulate(steps, 1)


def test_a_pass_that_all_stages_leave_out_is_noticed() -> None:
    with pytest.raises(PipelineError, match="never done: backward 3 of part 0, of 4"):
        simulate(pipeline_steps("1f1b", 2, 3), 4)
    with pytest.raises(PipelineError, match="not wanted: backward 2 of part 0, of 4"):
        simulate(pipeline_steps("1f1b", 2, 3), 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("zigzag", 2, 2, 1), "unknown schedule 'zigzag'; choose from gpipe, 1f1b, interleaved"),
        (("1f1b", 0, 2, 1), "'stages' is 0; it must be at least 1"),
        (("1f1b", 2, 0, 1), "'micro_batches' is 0; it must be at least 1"),
        (("gpipe", 2, 2, -1), "'chunks' is -1; it must be at least 1"),
        (("gpipe", 2, 2, 3), "gpipe has one chunk of layers per stage, not 3; choose interleaved"),
        (("interleaved", 2, 2, 1), "interleaved needs at least 2 chunks per stage; with 1 it is"),
        (("interleaved", 4, 10, 2), "the 4 stages .* such as 8 or 12, not 10"),
        (("interleaved", 4, 3, 2), "the 4 stages .* such as 4, not 3"),
    ],
)
def test_pipelines_that_do_not_exist_are_refused(
    arguments: tuple[str, int, int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline_steps(*arguments)


@pytest.mark.parametrize("stage", [-1, 2])
def test_stages_that_do_not_exist_are_refused(stage: int) -> None:
    with pytest.raises(ValueError, match=f"'stage' is {stage}; it must be from 0 to 1"):
        stage_steps("1f1b", stage, 2, 2)


@pytest.mark.parametrize("wrong", [{"forward": -1}, {"backward": float("nan")}, {"message": -0.1}])
def test_costs_below_0_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))!r} is .*; it must not be negative"):
        Costs(**wrong)
