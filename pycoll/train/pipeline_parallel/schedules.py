"""Pipeline schedules: pure functions from (stage, stages, micro-batches, chunks) to steps.

Each schedule decides in which order a stage computes; the messages follow from that. Backward
passes always run in the order of the micro-batches, so that every schedule adds up gradients in the
same order and leads to the same bits. (GPipe's paper draws them in reverse; that takes as long.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pycoll.train.pipeline_parallel.step import Step


@dataclass(frozen=True)
class Schedule:
    """How a kind of pipeline orders its work.

    Attributes
    ----------
    source : str
        Where it is described.
    purpose : str
        What it is for, in a line.
    order : callable
        ``order(stage, stages, micro_batches, chunks)`` yields the stage's "forward" and "backward"
        steps.
    interleaves : bool
        Whether a stage holds several chunks.
    trains : bool
        Whether there are backward passes.
    """

    source: str
    purpose: str
    order: Callable[[int, int, int, int], Iterator[Step]]
    interleaves: bool = False
    trains: bool = True


def _forward_only(stage: int, stages: int, micro_batches: int, chunks: int) -> Iterator[Step]:
    for group in range(0, micro_batches, stages):
        for chunk in range(chunks):
            for micro_batch in range(group, min(group + stages, micro_batches)):
                yield Step("forward", micro_batch, chunk)


def _gpipe(stage: int, stages: int, micro_batches: int, chunks: int) -> Iterator[Step]:
    for micro_batch in range(micro_batches):
        yield Step("forward", micro_batch)
    for micro_batch in range(micro_batches):
        yield Step("backward", micro_batch)


def _one_forward_one_backward(
    stage: int, stages: int, micro_batches: int, chunks: int
) -> Iterator[Step]:
    forwards = (Step("forward", micro_batch) for micro_batch in range(micro_batches))
    backwards = (Step("backward", micro_batch) for micro_batch in range(micro_batches))
    # The first gradient can be back after one forward pass on each stage behind this one.
    return _alternate(forwards, backwards, ahead=stages - stage - 1)


def _interleaved(stage: int, stages: int, micro_batches: int, chunks: int) -> Iterator[Step]:
    # Micro-batches go through the chunks in groups of as many as there are stages: when the group's
    # last one has entered a chunk, its first one is back for the next chunk.
    def walk(chunk_order: range) -> Iterator[tuple[int, int]]:
        for group in range(0, micro_batches, stages):
            for chunk in chunk_order:
                for micro_batch in range(group, group + stages):
                    yield micro_batch, chunk

    forwards = (Step("forward", *which) for which in walk(range(chunks)))
    backwards = (Step("backward", *which) for which in walk(range(chunks)[::-1]))
    # All chunks but the last for the first group, and twice the stages behind this one: forward
    # passes on the way there and backward passes on the way back leave no stage without work.
    ahead = (chunks - 1) * stages + 2 * (stages - stage - 1)
    return _alternate(forwards, backwards, ahead)


def _alternate(forwards: Iterator[Step], backwards: Iterator[Step], ahead: int) -> Iterator[Step]:
    """Yield some forward passes ahead, then one forward and one backward in turns."""
    for number, forward in enumerate(forwards):
        yield forward
        if number >= ahead:
            yield next(backwards)
    yield from backwards


SCHEDULES = {
    "gpipe": Schedule(
        source="Huang et al. 2019, GPipe, section 2.3",
        purpose="All forward passes, then all backward passes.",
        order=_gpipe,
    ),
    "1f1b": Schedule(
        source="Narayanan et al. 2021, Megatron-LM on GPU clusters, section 2.2.1",
        purpose="One forward, one backward: as short as gpipe, with fewer activations in memory.",
        order=_one_forward_one_backward,
    ),
    "interleaved": Schedule(
        source="Narayanan et al. 2021, Megatron-LM on GPU clusters, section 2.2.2",
        purpose="1f1b with several chunks of layers per stage: a shorter bubble, more messages.",
        order=_interleaved,
        interleaves=True,
    ),
    "forward_only": Schedule(
        source="the forward passes of the others",
        purpose="To evaluate a model: no backward passes.",
        order=_forward_only,
        trains=False,
    ),
}


def check_request(name: str, stages: int, micro_batches: int, chunks: int = 1) -> None:
    """Raise where there is no such pipeline.

    Raises
    ------
    ValueError
        It says what would work.
    """
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}; choose from {', '.join(SCHEDULES)}")
    counts = {"stages": stages, "micro_batches": micro_batches, "chunks": chunks}
    for what, count in counts.items():
        if count < 1:
            raise ValueError(f"{what!r} is {count}; it must be at least 1")
    if not SCHEDULES[name].trains:
        return
    if not SCHEDULES[name].interleaves:
        if chunks != 1:
            raise ValueError(
                f"{name} has one chunk of layers per stage, not {chunks}; choose interleaved for "
                "several"
            )
        return
    if chunks == 1:
        raise ValueError("interleaved needs at least 2 chunks per stage; with 1 it is 1f1b")
    if micro_batches % stages:
        below = micro_batches - micro_batches % stages
        fitting = [str(count) for count in (below, below + stages) if count]
        raise ValueError(
            f"interleaved needs a multiple of the {stages} stages as number of micro-batches, such "
            f"as {' or '.join(fitting)}, not {micro_batches}"
        )


def stage_steps(
    name: str, stage: int, stages: int, micro_batches: int, chunks: int = 1
) -> list[Step]:
    """Return what one stage does, in order.

    Parameters
    ----------
    name : {"gpipe", "1f1b", "interleaved", "forward_only"}
    stage, stages : int
        Number of this stage, from 0, and number of stages.
    micro_batches : int
        Into how many a batch is cut.
    chunks : int
        Parts of the model per stage; above 1 for "interleaved" (and "forward_only").

    Raises
    ------
    ValueError
        See `check_request`.
    """
    check_request(name, stages, micro_batches, chunks)
    if not 0 <= stage < stages:
        raise ValueError(f"'stage' is {stage}; it must be from 0 to {stages - 1}")
    steps: list[Step] = []
    for step in SCHEDULES[name].order(stage, stages, micro_batches, chunks):
        steps += _with_messages(step, stage, stages, chunks)
    return steps


def pipeline_steps(name: str, stages: int, micro_batches: int, chunks: int = 1) -> list[list[Step]]:
    """Return what all stages do; see `stage_steps`."""
    check_request(name, stages, micro_batches, chunks)
    return [stage_steps(name, stage, stages, micro_batches, chunks) for stage in range(stages)]


def _with_messages(step: Step, stage: int, stages: int, chunks: int) -> Iterator[Step]:
    """Surround a step by the messages that bring its input and take its output away.

    A single stage keeps everything: it sends itself nothing.
    """
    part, parts = step.chunk * stages + stage, stages * chunks
    before, behind = (stage - 1) % stages, (stage + 1) % stages
    has_before, has_behind = stages > 1 and part > 0, stages > 1 and part < parts - 1
    which = step.micro_batch, step.chunk
    if step.kind == "forward":
        if has_before:
            yield Step("recv_activation", *which, before)
        yield step
        if has_behind:
            yield Step("send_activation", *which, behind)
    else:
        if has_behind:
            yield Step("recv_gradient", *which, behind)
        yield step
        if has_before:
            yield Step("send_gradient", *which, before)
