"""What happens in a plan: who sends what to whom, who folds, and who holds what from when on."""

from __future__ import annotations

from dataclasses import dataclass, field

from pycoll.planning.picture.events import StepId, events_in_order, partners
from pycoll.planning.picture.memory import Memory, Run, fold
from pycoll.planning.plans import Plan

ROOTED = frozenset({"reduce", "broadcast", "gather", "scatter"})


@dataclass(frozen=True)
class Message:
    """What one rank sends another; times in seconds from the start of the call."""

    src: int
    dst: int
    start: float
    arrival: float
    runs: list[Run]
    bytes: int


@dataclass(frozen=True)
class Work:
    """A fold or a copy on one rank, and what comes of it."""

    kind: str
    rank: int
    start: float
    end: float
    runs: list[Run]


@dataclass(frozen=True)
class Holding:
    """From ``time`` on, a rank holds something."""

    rank: int
    time: float
    runs: list[Run]


@dataclass
class Story:
    """All that happens, each list in the order of time.

    ``results`` is what is in each rank's output afterwards. The data of a barrier is who has
    arrived.
    """

    messages: list[Message] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    holdings: list[Holding] = field(default_factory=list)
    results: list[list[Run]] = field(default_factory=list)


def tell(plan: Plan) -> Story:
    """Run the schedules of a proven plan symbolically."""
    execution = _Barrier(plan) if plan.collective == "barrier" else _Execution(plan)
    meeting = partners(plan.schedules)
    for event in events_in_order(plan.schedules, meeting):
        if event in meeting:
            execution.pass_message(event, meeting[event])
        else:
            execution.work(event)
    story = execution.story
    story.results = [execution.result(rank) for rank in range(plan.ranks)]
    story.messages.sort(key=lambda message: message.start)
    story.work.sort(key=lambda work: work.start)
    story.holdings.sort(key=lambda holding: holding.time)
    return story


class _Execution:
    """The memory of all ranks while the schedules run."""

    def __init__(self, plan: Plan) -> None:
        self.story = Story()
        self._plan = plan
        self._timeline = plan.price.timeline
        self._steps = [schedule.steps for schedule in plan.schedules]
        self._memory = [Memory() for _ in range(plan.ranks)]
        for rank, request in enumerate(plan.requests):
            if request.input_count == 0:
                continue
            own = [Run(frozenset({rank}), 0, request.input_count)]
            buffer, offset = "input", 0
            if self._shares_memory(rank) and plan.collective in ("all_gather", "gather"):
                buffer, offset = "output", rank * plan.count
            elif self._shares_memory(rank) and plan.collective not in ("reduce_scatter", "scatter"):
                buffer = "output"
            self._memory[rank].write(buffer, offset, own)
            self.story.holdings.append(Holding(rank, 0.0, own))

    def result(self, rank: int) -> list[Run]:
        """Return what is in a rank's output."""
        buffer, offset = "output", 0
        if self._shares_memory(rank) and self._plan.collective in ("reduce_scatter", "scatter"):
            buffer, offset = "input", rank * self._plan.count
        count = self._plan.requests[rank].output_count
        return self._memory[rank].read(buffer, offset, count)

    def work(self, at: StepId) -> None:
        """Run a local step."""
        rank, number = at
        step = self._steps[rank][number]
        start, end = self._timeline[rank][number]
        runs = fold([self._memory[rank].read_slice(src) for src in step.srcs])
        kind = "fold" if step.kind == "reduce" else "copy"
        self.story.work.append(Work(kind, rank, start, end, runs))
        self._write(at, runs, end)

    def pass_message(self, send: StepId, receive: StepId) -> None:
        """Run both ends of a message."""
        sender, number = send
        sent = self._memory[sender].read_slice(self._steps[sender][number].srcs[0])
        self._add_message(send, receive, sent)
        rank, number = receive
        step = self._steps[rank][number]
        _, end = self._timeline[rank][number]
        if step.kind == "recv":
            self._write(receive, sent, end)
            return
        folded = fold([self._memory[rank].read_slice(step.srcs[0]), sent])
        _, arrival = self._timeline[sender][send[1]]
        self.story.work.append(Work("fold", rank, arrival, end, folded))
        self._write(receive, folded, end)

    def _shares_memory(self, rank: int) -> bool:
        """Whether input and output are in one buffer; away from the root there is only one."""
        plan = self._plan
        return plan.in_place and (plan.collective not in ROOTED or rank == plan.root)

    def _write(self, at: StepId, runs: list[Run], time: float) -> None:
        rank, number = at
        dst = self._steps[rank][number].dst
        assert dst is not None, "only sends write nothing"
        self._memory[rank].write(dst.buffer, dst.offset, runs)
        self.story.holdings.append(Holding(rank, time, runs))

    def _add_message(self, send: StepId, receive: StepId, runs: list[Run]) -> None:
        sender, number = send
        start, arrival = self._timeline[sender][number]
        elements = self._steps[sender][number].srcs[0].count
        size = elements * self._plan.element_size
        self.story.messages.append(Message(sender, receive[0], start, arrival, runs, size))


class _Barrier(_Execution):
    """Messages without data: what they bring is who has arrived, as far as their sender knows."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._heard: dict[StepId, frozenset[int]] = {}
        for rank in range(plan.ranks):
            self.story.holdings.append(Holding(rank, 0.0, _arrivals({rank})))

    def result(self, rank: int) -> list[Run]:
        known = (heard for (owner, _), heard in self._heard.items() if owner == rank)
        return _arrivals(frozenset({rank}).union(*known))

    def pass_message(self, send: StepId, receive: StepId) -> None:
        heard = self._heard[send] = self._knows(send)
        self._heard[receive] = self._knows(receive) | heard
        self._add_message(send, receive, _arrivals(heard))
        rank, number = receive
        _, end = self._timeline[rank][number]
        self.story.holdings.append(Holding(rank, end, _arrivals(heard)))

    def _knows(self, at: StepId) -> frozenset[int]:
        """Return whom a rank has heard of when it comes to a step."""
        rank, number = at
        causes = self._steps[rank][number].after
        return frozenset({rank}).union(*(self._heard[rank, cause] for cause in causes))


def _arrivals(ranks: frozenset[int] | set[int]) -> list[Run]:
    return [Run(frozenset({rank}), 0, 1) for rank in sorted(ranks)]
