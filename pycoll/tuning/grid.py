"""Measuring what auto chooses from, for some lengths."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from pycoll import _core
from pycoll.communicator import Communicator
from pycoll.cost import Costs, costs_from
from pycoll.planning.bandwidth import BLOCKWISE
from pycoll.planning.plans import needs_arrays
from pycoll.tuning.calls import DTYPE, MEASURED, Arrays, time_calls
from pycoll.tuning.file import Measured
from pycoll.tuning.fit import misleading
from pycoll.tuning.situation import Situation

#: Bytes of the vector, or of the blocks of all ranks.
SIZES = (64, 4 << 10, 32 << 10, 256 << 10, 2 << 20)
#: Seconds for all candidates of one length.
BUDGET = 0.15


@dataclass(frozen=True)
class Point:
    """Calls of one collective and length, by all candidates."""

    collective: str
    size: int
    count: int
    request: _core.Request


def points(nodes: list[int], ranks: int) -> Iterator[Point]:
    """Yield what is measured. ``nodes`` has each rank's, where there are several."""
    element = _core.DTYPE_SIZES[DTYPE]
    for collective in MEASURED:
        for size in SIZES:
            blocks = ranks if collective in BLOCKWISE else 1
            if count := size // (element * blocks):
                request = _core.Request(collective, rank=0, size=ranks, count=count, nodes=nodes)
                yield Point(collective, size, count, request)


def kinds(comm: Communicator, reach: str) -> dict[str, str]:
    """Return what ranks see of each other by what their arrays are; ``reach`` is that at best."""
    if reach != "mapped":
        return {"plain": reach}
    return {"plain": "arrays" if comm._copies_across else "stages", "registered": reach}


def measure_point(
    comm: Communicator, point: Point, model: _core.CostModel, reach: str
) -> list[Measured]:
    """Measure all candidates of a call. Collective.

    Those that need the arrays of all ranks are measured on registered ones, too; the others on
    plain ones only: they gain nothing from where the arrays lie.
    """
    element = _core.DTYPE_SIZES[DTYPE]
    found = [
        (name, chunk * element, memory)
        for memory, seen in kinds(comm, reach).items()
        for name, chunk, _ in _core.candidates(point.request, element, model, seen)
        if memory == "plain" or needs_arrays(point.collective, name)
    ]
    arrays = {
        memory: Arrays(comm, point.collective, point.count, registered=memory == "registered")
        for memory in {memory for _, _, memory in found}
    }
    timings = time_calls(
        [arrays[memory].call(name, chunk) for name, chunk, memory in found], comm._mpi, BUDGET
    )
    return [
        Measured(
            ranks=comm.size,
            nodes=model.nodes,
            cores_per_node=model.cores_per_node,
            collective=point.collective,
            dtype=DTYPE,
            count=point.count,
            memory=memory,
            algorithm=name,
            chunk_bytes=chunk,
            seconds=timing.median,
        )
        for (name, chunk, memory), timing in zip(found, timings, strict=True)
    ]


@dataclass(frozen=True)
class Verdict:
    """What auto chooses, and what was fastest.

    Attributes
    ----------
    memory : str
        Of the arrays.
    auto, best : Measured
    """

    point: Point
    memory: str
    auto: Measured
    best: Measured

    @property
    def ratio(self) -> float:
        """Return the time of auto's choice over the least."""
        return self.auto.seconds / self.best.seconds


def judge(
    point: Point, measured: list[Measured], model: _core.CostModel, seen_by_memory: dict[str, str]
) -> list[Verdict]:
    """Return how well auto would have chosen with a model, for each of `kinds`."""
    verdicts = []
    for memory, seen in seen_by_memory.items():
        able = [
            one
            for one in measured
            if one.memory == memory or not needs_arrays(one.collective, one.algorithm)
        ]
        name, _ = _core.choose(point.request, _core.DTYPE_SIZES[DTYPE], model, reach=seen)
        auto = next(one for one in able if one.algorithm == name)
        verdicts.append(Verdict(point, memory, auto, min(able, key=lambda one: one.seconds)))
    return verdicts


@dataclass(frozen=True)
class Grid:
    """All calls that were measured in a situation.

    Attributes
    ----------
    calls : list of pairs
        Each point, and how long it took with each algorithm.
    kinds : dict
        See `kinds`.
    """

    situation: Situation
    kinds: dict[str, str]
    calls: list[tuple[Point, list[Measured]]] = field(default_factory=list)

    def judge(self, costs: dict[str, float]) -> list[Verdict]:
        """Return how well auto would have chosen with these costs, and the others as assumed."""
        model = costs_from(costs).model(self.situation.nodes, self.situation.cores_per_node)
        return [
            verdict
            for point, measured in self.calls
            for verdict in judge(point, measured, model, self.kinds)
        ]

    def misleading_costs(self, costs: dict[str, float]) -> list[str]:
        """Return the names of those in place of which auto chooses better with what is assumed."""
        measured = {name: cost for name, cost in costs.items() if name != "cached"}  # no choice's
        return misleading(measured, asdict(Costs()), lambda some: mean_ratio(self.judge(some)))


def mean_ratio(verdicts: list[Verdict]) -> float:
    """Return the geometric mean of how many times too long auto's choices take."""
    return math.exp(sum(math.log(verdict.ratio) for verdict in verdicts) / len(verdicts))
