"""Runs the steps of all stages on symbolic values: proves a pipeline right, and prices it.

A stage's steps run in order. Messages between two stages arrive in the order in which they were
sent, activations and gradients apart; sending never waits. What is computed and sent are names of
values, and every step checks that it gets just the values that it needs. One run proves it for all:
a step waits for the message of one stage only, so that what happens does not depend on how fast the
stages are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pycoll.train.pipeline_parallel.step import Step

#: What is sent, of which micro-batch, by which part of the model.
Value: TypeAlias = tuple[str, int, int]


class PipelineError(ValueError):
    """The steps of a pipeline are wrong."""


@dataclass(frozen=True)
class Costs:
    """What things take, in any unit of time.

    Attributes
    ----------
    forward, backward : float
        Of one micro-batch on all layers of a stage (shared out evenly among its chunks).
    message : float
        From a send until it can be received.
    """

    forward: float = 1.0
    backward: float = 2.0
    message: float = 0.0

    def __post_init__(self) -> None:
        for name in ("forward", "backward", "message"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name!r} is {getattr(self, name)}; it must not be negative")


@dataclass(frozen=True)
class Simulation:
    """What happened.

    Attributes
    ----------
    timeline : list of list of (float, float)
        Start and end of each step of each stage.
    seconds : float
        From the first start to the last end.
    bubble : float
        Share of this time that stages spend idle, on average: 0 to 1.
    peaks : list of int
        Of each stage: the greatest number of forward passes (one per chunk) whose activations it
        keeps for the backward pass, at any time.
    messages : list of int
        That each stage sends.
    """

    timeline: list[list[tuple[float, float]]]
    seconds: float
    bubble: float
    peaks: list[int]
    messages: list[int]


def simulate(
    steps: Sequence[Sequence[Step]],
    micro_batches: int,
    chunks: int = 1,
    costs: Costs | None = None,
    *,
    trains: bool = True,
) -> Simulation:
    """Run all stages.

    Parameters
    ----------
    steps : sequence of sequence of Step
        Of every stage.
    micro_batches, chunks : int
        What all stages together must have done in the end: every forward and, if ``trains``, every
        backward pass.

    Raises
    ------
    PipelineError
        When a step lacks its input or gets another one's, something is computed or sent twice,
        never computed or never received, or stages wait for each other for ever.
    """
    costs = costs or Costs()
    stages = [_Stage(number, own, len(steps), chunks, costs) for number, own in enumerate(steps)]
    channels: dict[tuple[int, int, str], deque[tuple[Value, float]]] = {}
    moved = True
    while moved:
        moved = False
        for stage in stages:
            while stage.advance(channels):
                moved = True
    _require_end(stages, channels, micro_batches, chunks, trains)
    seconds = max((stage.clock for stage in stages), default=0.0)
    busy = sum(stage.busy for stage in stages)
    return Simulation(
        timeline=[stage.timeline for stage in stages],
        seconds=seconds,
        bubble=1 - busy / (seconds * len(stages)) if seconds else 0.0,
        peaks=[stage.peak for stage in stages],
        messages=[stage.sent for stage in stages],
    )


class _Stage:
    """The state of one stage."""

    def __init__(
        self, number: int, steps: Sequence[Step], stages: int, chunks: int, costs: Costs
    ) -> None:
        self.number = number
        self.steps = steps
        self.stages = stages
        self.last_part = stages * chunks - 1
        self.costs = costs
        self.duration = {"forward": costs.forward / chunks, "backward": costs.backward / chunks}
        self.next = 0
        self.clock = self.busy = 0.0
        self.timeline: list[tuple[float, float]] = []
        self.held: set[Value] = set()  # computed or received here, and not used up yet
        self.computed: set[tuple[str, int, int]] = set()
        self.in_flight = self.peak = self.sent = 0

    def advance(self, channels: dict[tuple[int, int, str], deque[tuple[Value, float]]]) -> bool:
        """Do the next step; return False when there is none, or its message is not there yet."""
        if self.next == len(self.steps):
            return False
        step = self.steps[self.next]
        start = self.clock
        if not step.is_message:
            self._compute(step)
            self.clock += self.duration[step.kind]
            self.busy += self.duration[step.kind]
        else:
            action, kind = step.kind.split("_")
            assert step.peer is not None
            if not (0 <= step.peer < self.stages and step.peer != self.number):
                self._fail(step, "there is no such other stage")
            if action == "send":
                channel = channels.setdefault((self.number, step.peer, kind), deque())
                value = self._value(kind, step)
                self._use(step, value)
                channel.append((value, start + self.costs.message))
                self.sent += 1
            else:
                channel = channels.setdefault((step.peer, self.number, kind), deque())
                if not channel:
                    return False
                value, arrival = channel.popleft()
                needed = self._needed(kind, step)
                if value != needed:
                    self._fail(step, f"{_in_words(value)} arrives, not {_in_words(needed)}")
                self.held.add(value)
                self.clock = max(self.clock, arrival)
        self.timeline.append((start, self.clock))
        self.next += 1
        return True

    def _compute(self, step: Step) -> None:
        part = self._part(step)
        which = (step.kind, step.micro_batch, part)
        if which in self.computed:
            self._fail(step, "it was computed before")
        self.computed.add(which)
        if step.kind == "forward":
            if part > 0:
                self._use(step, ("activation", step.micro_batch, part - 1))
            if part < self.last_part:
                self.held.add(("activation", step.micro_batch, part))
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)
        else:
            if ("forward", step.micro_batch, part) not in self.computed:
                self._fail(step, "its forward pass comes later")
            if part < self.last_part:
                self._use(step, ("gradient", step.micro_batch, part + 1))
            if part > 0:
                self.held.add(("gradient", step.micro_batch, part))
            self.in_flight -= 1

    def _use(self, step: Step, value: Value) -> None:
        if value not in self.held:
            self._fail(step, f"{_in_words(value)} is not there")
        self.held.remove(value)

    def _part(self, step: Step) -> int:
        return step.chunk * self.stages + self.number

    def _value(self, kind: str, step: Step) -> Value:
        return kind, step.micro_batch, self._part(step)

    def _needed(self, kind: str, step: Step) -> Value:
        before = -1 if kind == "activation" else 1
        return kind, step.micro_batch, self._part(step) + before

    def _fail(self, step: Step, why: str) -> None:
        raise PipelineError(f"stage {self.number}, step {self.next} ({step}): {why}")


def _require_end(
    stages: list[_Stage],
    channels: dict[tuple[int, int, str], deque[tuple[Value, float]]],
    micro_batches: int,
    chunks: int,
    trains: bool,
) -> None:
    stuck = [stage for stage in stages if stage.next < len(stage.steps)]
    if stuck:
        waits = "; ".join(f"stage {each.number}: {each.steps[each.next]}" for each in stuck)
        raise PipelineError(f"these wait for ever: {waits}")
    left = [_in_words(value) for channel in channels.values() for value, _ in channel]
    left += [_in_words(value) for stage in stages for value in sorted(stage.held)]
    if left:
        raise PipelineError(f"never used: {', '.join(left)}")
    kinds = ("forward", "backward") if trains else ("forward",)
    expected = {
        (kind, micro_batch, part)
        for kind in kinds
        for micro_batch in range(micro_batches)
        for part in range(len(stages) * chunks)
    }
    found = set().union(*(stage.computed for stage in stages))
    for name, wrong in (("never done", expected - found), ("not wanted", found - expected)):
        if wrong:
            kind, micro_batch, part = min(wrong)
            raise PipelineError(f"{name}: {kind} {micro_batch} of part {part}, of {len(wrong)}")


def _in_words(value: Value) -> str:
    kind, micro_batch, part = value
    return f"the {kind} {micro_batch} of part {part}"
