"""What happens in a plan: who sends what to whom, who folds, and who holds what from when on."""

from __future__ import annotations

from dataclasses import dataclass, field

from pycoll import _core
from pycoll.planning.picture.events import StepId, events_in_order, partners, takers
from pycoll.planning.picture.memory import Memory, Run, fold
from pycoll.planning.plans import Plan

ROOTED = frozenset({"reduce", "broadcast", "gather", "scatter"})


@dataclass(frozen=True)
class Message:
    """What goes from one rank to another; times in seconds from the start of the call.

    ``sent`` says whether it is a message. If not, one of the ranks, or a third one, reads or writes
    it straight in the memory of others.
    """

    src: int
    dst: int
    start: float
    arrival: float
    runs: list[Run]
    bytes: int
    sent: bool = True


@dataclass(frozen=True)
class Signal:
    """One rank tells another that something is done."""

    src: int
    dst: int
    start: float
    arrival: float


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
    signals: list[Signal] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    holdings: list[Holding] = field(default_factory=list)
    results: list[list[Run]] = field(default_factory=list)


def tell(plan: Plan) -> Story:
    """Run the schedules of a proven plan symbolically."""
    execution = _Barrier(plan) if plan.collective == "barrier" else _Execution(plan)
    meeting = partners(plan.schedules)
    taking = takers(plan.schedules)
    signals = {taker: signal for signal, taker in taking.items()}
    for event in events_in_order(plan.schedules, meeting, taking):
        if event in meeting:
            execution.pass_message(event, meeting[event])
        elif event in taking:
            execution.signal(event)
        elif event in signals:
            if plan.schedules[event[0]].steps[event[1]].kind == "wait":
                execution.wait(event, signals[event])
        else:
            execution.work(event)
    story = execution.story
    story.signals += _first_meeting(plan)
    story.results = [execution.result(rank) for rank in range(plan.ranks)]
    story.messages.sort(key=lambda message: message.start)
    story.signals.sort(key=lambda signal: signal.start)
    story.work.sort(key=lambda work: work.start)
    story.holdings.sort(key=lambda holding: holding.time)
    return story


def _first_meeting(plan: Plan) -> list[Signal]:
    """Return the signals by which the ranks of each node meet before the schedules start."""
    if not plan.schedules[0].meets_first:
        return []
    starts = [start for steps in plan.price.timeline for start, _ in steps]
    nodes = plan.requests[0].nodes or [0] * plan.ranks
    return [
        Signal(src, dst, 0.0, min(starts))
        for src in range(plan.ranks)
        for dst in range(plan.ranks)
        if starts and src != dst and nodes[src] == nodes[dst]
    ]


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
            buffer, offset = self._place(rank, "input", 0)
            self._memory[rank].write(buffer, offset, own)
            self.story.holdings.append(Holding(rank, 0.0, own))

    def result(self, rank: int) -> list[Run]:
        """Return what is in a rank's output."""
        buffer, offset = self._place(rank, "output", 0)
        count = self._plan.requests[rank].output_count
        return self._memory[rank].read(buffer, offset, count)

    def work(self, at: StepId) -> None:
        """Run a local step."""
        rank, number = at
        step = self._steps[rank][number]
        start, end = self._timeline[rank][number]
        read = [self._read(rank, src) for src in step.srcs]
        runs = fold(read)
        assert step.dst is not None, "copies and folds write"
        target = rank if step.dst.owner is None else step.dst.owner
        if step.kind == "copy":
            # Who carries it out may be neither of the two.
            source = rank if step.srcs[0].owner is None else step.srcs[0].owner
            if source == target:
                self.story.work.append(Work("copy", rank, start, end, runs))
            else:
                self._move(source, target, start, end, runs)
        else:
            for src, part in zip(step.srcs, read, strict=True):
                if src.owner not in (None, rank):
                    self._move(src.owner, rank, start, end, part)
            self.story.work.append(Work("fold", rank, start, end, runs))
            if target != rank:
                self._move(rank, target, end, end, runs)
        self._write(at, runs, end)

    def signal(self, at: StepId) -> None:
        """Run a signal."""

    def wait(self, at: StepId, signal: StepId) -> None:
        """Run a wait for a signal."""
        _, start = self._timeline[signal[0]][signal[1]]
        _, end = self._timeline[at[0]][at[1]]
        self.story.signals.append(Signal(signal[0], at[0], start, end))

    def pass_message(self, send: StepId, receive: StepId) -> None:
        """Run both ends of a message."""
        sender, number = send
        sent = self._read(sender, self._steps[sender][number].srcs[0])
        self._add_message(send, receive, sent)
        rank, number = receive
        step = self._steps[rank][number]
        _, end = self._timeline[rank][number]
        if step.kind == "recv":
            self._write(receive, sent, end)
            return
        folded = fold([self._read(rank, step.srcs[0]), sent])
        _, arrival = self._timeline[sender][send[1]]
        self.story.work.append(Work("fold", rank, arrival, end, folded))
        self._write(receive, folded, end)

    def _shares_memory(self, rank: int) -> bool:
        """Whether input and output are in one buffer; away from the root there is only one."""
        plan = self._plan
        return plan.in_place and (plan.collective not in ROOTED or rank == plan.root)

    def _place(self, rank: int, buffer: str, offset: int) -> tuple[str, int]:
        """Return where something in a rank's buffer lies, which may be part of another one."""
        if not self._shares_memory(rank):
            return buffer, offset
        collective, own_block = self._plan.collective, rank * self._plan.count
        if collective in ("reduce_scatter", "scatter"):
            return ("input", own_block + offset) if buffer == "output" else (buffer, offset)
        if buffer != "input":
            return buffer, offset
        return "output", offset + (own_block if collective in ("all_gather", "gather") else 0)

    def _read(self, rank: int, place: _core.Slice) -> list[Run]:
        owner = rank if place.owner is None else place.owner
        return self._memory[owner].read(
            *self._place(owner, place.buffer, place.offset), place.count
        )

    def _write(self, at: StepId, runs: list[Run], time: float) -> None:
        rank, number = at
        dst = self._steps[rank][number].dst
        assert dst is not None, "only sends and signals write nothing"
        owner = rank if dst.owner is None else dst.owner
        self._memory[owner].write(*self._place(owner, dst.buffer, dst.offset), runs)
        self.story.holdings.append(Holding(owner, time, runs))

    def _move(self, src: int, dst: int, start: float, end: float, runs: list[Run]) -> None:
        """Note that something goes from one rank's memory to another's."""
        size = sum(run.count for run in runs) * self._plan.element_size
        self.story.messages.append(Message(src, dst, start, end, runs, size, sent=False))

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

    def signal(self, at: StepId) -> None:
        self._heard[at] = self._knows(at)

    def wait(self, at: StepId, signal: StepId) -> None:
        super().wait(at, signal)
        heard = self._heard[signal]
        self._heard[at] = self._knows(at) | heard
        _, end = self._timeline[at[0]][at[1]]
        self.story.holdings.append(Holding(at[0], end, _arrivals(heard)))

    def _knows(self, at: StepId) -> frozenset[int]:
        """Return whom a rank has heard of when it comes to a step."""
        rank, number = at
        causes = self._steps[rank][number].after
        return frozenset({rank}).union(*(self._heard[rank, cause] for cause in causes))


def _arrivals(ranks: frozenset[int] | set[int]) -> list[Run]:
    return [Run(frozenset({rank}), 0, 1) for rank in sorted(ranks)]
