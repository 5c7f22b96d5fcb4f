"""The events of a plan in an order in which they can run."""

from __future__ import annotations

from collections import defaultdict

from pycoll import _core

StepId = tuple[int, int]  # rank, number


def partners(schedules: list[_core.Schedule]) -> dict[StepId, StepId]:
    """Return the receive of each send: the k-th send to a rank meets its k-th receive."""
    return _matched(schedules, ("send",), ("recv", "recv_reduce"))


def takers(schedules: list[_core.Schedule]) -> dict[StepId, StepId]:
    """Return the wait that each signal ends, or the expectation that it meets, in the same way."""
    return _matched(schedules, ("signal",), ("wait", "expect"))


def _matched(
    schedules: list[_core.Schedule], there: tuple[str, ...], here: tuple[str, ...]
) -> dict[StepId, StepId]:
    channels: dict[tuple[int, int], list[StepId]] = defaultdict(list)
    for schedule in schedules:
        for number, step in enumerate(schedule.steps):
            if step.kind in here and step.peer is not None:
                channels[step.peer, schedule.rank].append((schedule.rank, number))
    meeting: dict[StepId, StepId] = {}
    for schedule in schedules:
        taken: dict[int, int] = defaultdict(int)
        for number, step in enumerate(schedule.steps):
            if step.kind in there and step.peer is not None:
                channel = channels[schedule.rank, step.peer]
                meeting[schedule.rank, number] = channel[taken[step.peer]]
                taken[step.peer] += 1
    return meeting


def events_in_order(
    schedules: list[_core.Schedule],
    meeting: dict[StepId, StepId],
    taking: dict[StepId, StepId],
) -> list[StepId]:
    """Return all steps but the receives, which are part of their sends, each after its causes.

    What takes a signal comes after it, too.
    """
    event_of = {receive: send for send, receive in meeting.items()}
    pending: dict[StepId, int] = defaultdict(int)
    followers: dict[StepId, list[StepId]] = defaultdict(list)
    for schedule in schedules:
        for number, step in enumerate(schedule.steps):
            at = (schedule.rank, number)
            event = event_of.get(at, at)
            pending[event] += len(step.after)
            for before in step.after:
                followers[schedule.rank, before].append(event)
    for signal, taker in taking.items():
        pending[taker] += 1
        followers[signal].append(taker)
    order = [event for event, causes in pending.items() if causes == 0]
    for event in order:  # grows while it is walked
        ends = [event, meeting[event]] if event in meeting else [event]
        for follower in (follower for end in ends for follower in followers[end]):
            pending[follower] -= 1
            if pending[follower] == 0:
                order.append(follower)
    return order
