"""How long calls take: contestants take turns, so that all meet the same disturbances."""

from __future__ import annotations

import gc
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from pycoll.bench.memory import Clock, HostClock, Taken

FEWEST_ROUNDS = 3
MOST_ROUNDS = 9
#: Beyond, a mean gets no better.
MOST_ITERATIONS = 10_000


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    Attributes
    ----------
    iterations, rounds : int or None
        None: as many as fit into ``seconds``, which is for all contestants together.
    warmups : int
        Calls before anything is timed; the first makes pycoll's plan.
    """

    iterations: int | None
    rounds: int | None
    warmups: int
    seconds: float


@dataclass(frozen=True)
class Timing:
    """What one contestant took.

    Attributes
    ----------
    seconds : tuple of float
        Per round: of one iteration, in the mean over the iterations of the round, on the slowest
        rank.
    iterations : int
        Per round.
    device_seconds : tuple of float
        The same by the clock of the GPU; empty on the host.
    """

    seconds: tuple[float, ...]
    iterations: int
    device_seconds: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        """Return the median over rounds, in seconds."""
        return float(np.median(self.seconds))

    @property
    def device_median(self) -> float:
        """Return the median by the clock of the GPU, in seconds; not a number on the host."""
        return float(np.median(self.device_seconds)) if self.device_seconds else math.nan


@dataclass(frozen=True)
class Ratio:
    """Times of one contestant over another's in the same rounds: median and quartiles."""

    median: float
    low: float
    high: float


def ratio(timing: Timing, reference: Timing) -> Ratio:
    """Compare round by round: what disturbs a round disturbs both."""
    ratios = np.divide(timing.seconds, reference.seconds)
    low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return Ratio(float(median), float(low), float(high))


def share_budget(estimates: Sequence[float], effort: Effort) -> tuple[int, list[int]]:
    """Return the number of rounds, and the iterations in a round of each contestant.

    Parameters
    ----------
    estimates : sequence of float
        Seconds that one iteration of each contestant takes.
    """
    rounds = effort.rounds
    if rounds is None:
        fitting = effort.seconds / sum(estimates)
        if effort.iterations is not None:
            fitting /= effort.iterations
        rounds = max(FEWEST_ROUNDS, min(MOST_ROUNDS, int(fitting)))
    if effort.iterations is not None:
        return rounds, [effort.iterations] * len(estimates)
    turn = effort.seconds / rounds / len(estimates)
    return rounds, [max(1, min(MOST_ITERATIONS, int(turn / each))) for each in estimates]


def time_in_turns(
    calls: Sequence[Callable[[], object]],
    comm: MPI.Intracomm,
    effort: Effort,
    clock: Clock | None = None,
) -> list[Timing]:
    """Time contestants round by round. Collective over ``comm``.

    In every round each contestant has a turn, in an order that moves on from round to round. A
    turn starts with a barrier, which is not timed.

    Parameters
    ----------
    clock : Clock, optional
        By default that on the wall.
    """
    clock = HostClock() if clock is None else clock
    for call in calls:
        for _ in range(effort.warmups):
            call()
    collecting = gc.isenabled()
    gc.disable()  # a collection in the midst of a turn would count as communication
    try:
        estimates = [_estimate(call, comm, effort.seconds / len(calls), clock) for call in calls]
        rounds, iterations = share_budget(estimates, effort)
        taken = np.empty((len(calls), rounds, 2))
        for number in range(rounds):
            for turn in range(len(calls)):
                who = (turn + number) % len(calls)
                turns = iterations[who]
                taken[who, number] = np.divide(_turn(calls[who], turns, comm, clock), turns)
    finally:
        if collecting:
            gc.enable()
    slowest = np.empty_like(taken)
    comm.Allreduce(taken, slowest, MPI.MAX)
    on_device = not np.isnan(slowest).any()
    return [
        Timing(tuple(times[:, 0].tolist()), count, tuple(times[:, 1].tolist()) if on_device else ())
        for times, count in zip(slowest, iterations, strict=True)
    ]


def _turn(call: Callable[[], object], iterations: int, comm: MPI.Intracomm, clock: Clock) -> Taken:
    comm.Barrier()
    clock.start()
    for _ in itertools.repeat(None, iterations):
        call()
    return clock.stop()


def _estimate(
    call: Callable[[], object], comm: MPI.Intracomm, seconds: float, clock: Clock
) -> float:
    """Return roughly how long an iteration takes, the same on all ranks."""
    iterations = 1
    while True:
        taken: float = comm.allreduce(_turn(call, iterations, comm, clock).wall, MPI.MAX)
        # A twentieth of the time is enough to know it within what the scheduler adds.
        if taken > seconds / 20 or iterations >= MOST_ITERATIONS:
            # A clock that did not move at all must not lead to infinitely many iterations.
            return max(taken, 1e-9) / iterations
        iterations = min(MOST_ITERATIONS, iterations * 4)
