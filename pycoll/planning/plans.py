"""What all ranks would do in one collective call, without doing it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pycoll import _core
from pycoll.cost import default_model
from pycoll.planning.bandwidth import BLOCKWISE, bus_factor
from pycoll.planning.table import table_of

#: What the ranks of a node see of each other's memory, by what their arrays are.
REACH = {"none": "messages", "hidden": "stages", "plain": "arrays", "registered": "mapped"}


@dataclass(frozen=True)
class Plan:
    """The schedules of all ranks of one call. Make one with `plan`.

    Attributes
    ----------
    collective, algorithm, dtype : str
        Names as in calls; the algorithm is never "auto".
    ranks, root : int
        How many ranks there are, and which one is special where one is.
    count : int
        Elements of the whole vector (all_reduce, reduce, broadcast), or of one rank's block.
    chunk : int
        Elements per chunk of a pipelined algorithm; 0 when messages are not cut.
    in_place : bool
        Whether input and output share memory.
    model : CostModel
        What messages and folds are taken to cost.
    reach : str
        What the ranks of a node see of each other's memory: "messages" (nothing), "stages",
        "arrays" (those of the call, too, as the kernel copies them) or "mapped" (since all are
        registered).
    schedules : list of Schedule
        One for each rank.
    """

    collective: str
    algorithm: str
    ranks: int
    count: int
    dtype: str
    root: int
    chunk: int
    in_place: bool
    model: _core.CostModel
    reach: str
    requests: list[_core.Request] = field(repr=False)
    schedules: list[_core.Schedule] = field(repr=False)

    @cached_property
    def failure(self) -> str | None:
        """Why the schedules do not compute what they should; None when they are proven to.

        Proven means: whatever the timing, the call ends, every rank gets the right result, and no
        memory is read too early or overwritten too soon.
        """
        return _core.verify(self.requests, self.schedules)

    @cached_property
    def price(self) -> _core.Price:
        """When each step runs under the model, the whole call's seconds, and the traffic."""
        return _core.price(self.schedules, self.element_size, self.model.within(self.reach))

    @cached_property
    def description(self) -> _core.Algorithm:
        """The algorithm's cost formula, source and abilities."""
        return next(
            algorithm
            for algorithm in _core.algorithms()
            if (algorithm.collective, algorithm.name) == (self.collective, self.algorithm)
        )

    @property
    def element_size(self) -> int:
        """Bytes per element."""
        return _core.DTYPE_SIZES[self.dtype]

    @property
    def size(self) -> int:
        """Bytes of the vector, or of the blocks of all ranks: what nccl-tests calls size."""
        blocks = self.ranks if self.collective in BLOCKWISE else 1
        return self.count * blocks * self.element_size

    @property
    def algorithm_bandwidth(self) -> float:
        """Bytes per second, by size and predicted time (algbw); 0 for an empty call."""
        return self.size / self.price.seconds if self.price.seconds > 0 else 0.0

    @property
    def bus_bandwidth(self) -> float:
        """The same as a share of what the hardware must carry (busbw)."""
        return self.algorithm_bandwidth * bus_factor(self.collective, self.ranks)

    def table(self, rank: int | None = None) -> str:
        """Return the steps of one rank, or of all, as text: when, what, and after which others."""
        return table_of(self, range(self.ranks) if rank is None else [self._checked(rank)])

    def svg(self) -> str:
        """Return a picture of who sends what to whom when, as the text of an SVG file.

        Raises
        ------
        ValueError
            When there are too many ranks for a picture, or the schedules are not proven.
        """
        from pycoll.planning.picture import draw

        return draw(self)

    def _checked(self, rank: int) -> int:
        if not 0 <= rank < self.ranks:
            raise ValueError(f"'rank' is {rank}; it must be from 0 to {self.ranks - 1}")
        return rank


def plan(
    collective: str,
    *,
    ranks: int,
    count: int = 0,
    dtype: str = "float32",
    algorithm: str = "auto",
    root: int = 0,
    chunk_bytes: int | None = None,
    in_place: bool = False,
    memory: str | None = None,
    model: _core.CostModel | None = None,
) -> Plan:
    """Work out what all ranks would do in one collective call.

    Parameters
    ----------
    collective : str
        "all_reduce", "reduce", "broadcast", "reduce_scatter", "all_gather", "gather", "scatter",
        "all_to_all" or "barrier".
    ranks : int
        How many there are.
    count : int
        Elements of the whole vector (all_reduce, reduce, broadcast), or of one rank's block.
    algorithm : str
        "auto" chooses as a call does.
    chunk_bytes : int, optional
        Bytes per chunk of a pipelined algorithm; chosen for you when omitted.
    in_place : bool
        Whether input and output share memory; all_to_all and barrier cannot.
    memory : str, optional
        What the ranks of a node share: "none"; "hidden", where only their owners see the arrays;
        "plain", where the kernel copies between them; or "registered", where all see them, as of
        NumPy and `Communicator.empty`. By default "registered" where ``algorithm`` needs arrays,
        and for "auto"; "hidden" for what goes through the stages.
    model : CostModel, optional
        By default one node with a core for each rank: `pycoll.cost.default_model`.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        Naming the argument that makes no sense.

    Examples
    --------
    >>> ring = plan("all_reduce", ranks=8, count=1 << 20, algorithm="ring")
    >>> ring.failure is None
    True
    >>> ring.price.messages
    14
    """
    _require(count >= 0, "count", count, "it must be at least 0")
    _require(ranks >= 1, "ranks", ranks, "it must be at least 1")
    _require(0 <= root < ranks, "root", root, f"it must be from 0 to {ranks - 1}")
    _require(dtype in _core.DTYPE_SIZES, "dtype", dtype, f"it must be {_one_of(_core.DTYPE_SIZES)}")
    _require(
        chunk_bytes is None or chunk_bytes >= 1, "chunk_bytes", chunk_bytes, "it must be at least 1"
    )
    _require(memory is None or memory in REACH, "memory", memory, f"it must be {_one_of(REACH)}")
    element_size = _core.DTYPE_SIZES[dtype]
    _require(count * ranks * element_size < 1 << 63, "count", count, "memory has no room for that")
    if model is None:
        model = default_model()
    _require(
        len(model.nodes) in (0, ranks), "model", model, f"its nodes must be those of {ranks} ranks"
    )
    nodes = model.nodes if len(set(model.nodes)) > 1 else []
    reach = _reach(collective, algorithm, memory, shares=ranks == 1 or len(set(nodes)) < ranks)

    def request(rank: int, chunk: int) -> _core.Request:
        return _core.Request(
            collective,
            rank=rank,
            size=ranks,
            count=count,
            root=root,
            chunk=chunk,
            in_place=in_place,
            nodes=nodes,
        )

    name, chunk = _core.choose(
        request(0, 0), element_size, model, algorithm, chunk_bytes or 0, reach
    )
    requests = [request(rank, chunk) for rank in range(ranks)]
    schedules = [_core.build(name, request) for request in requests]
    return Plan(
        collective=collective,
        algorithm=name,
        ranks=ranks,
        count=count,
        dtype=dtype,
        root=root,
        chunk=chunk,
        in_place=in_place,
        model=model,
        reach=reach,
        requests=requests,
        schedules=schedules,
    )


def needs_arrays(collective: str, algorithm: str) -> bool:
    """Return whether an algorithm reads or writes the arrays of other ranks."""
    return any(
        (known.collective, known.name, known.reach) == (collective, algorithm, "arrays")
        for known in _core.algorithms()
    )


def _require(holds: bool, argument: str, value: object, what: str) -> None:
    if not holds:
        raise ValueError(f"{argument!r} is {value!r}; {what}")


def _reach(collective: str, algorithm: str, memory: str | None, *, shares: bool) -> str:
    """Return what the core calls the memory that ranks share, if any has company on its node."""
    if memory is not None:
        return REACH[memory]
    if algorithm == "auto":
        return "mapped" if shares else "messages"
    wanted = (
        known.reach
        for known in _core.algorithms()
        if (known.collective, known.name) == (collective, algorithm) and known.reach != "messages"
    )
    needed = next(wanted, "stages" if shares else "messages")
    return "mapped" if needed == "arrays" else needed


def _one_of(names: dict[str, Any]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"
