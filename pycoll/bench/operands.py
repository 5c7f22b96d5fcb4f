"""The arrays of one measured call, and what must be in them afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pycoll.bench.memory import Array, HostMemory, Memory, changing
from pycoll.bench.values import Values, numpy_type


@dataclass(frozen=True)
class Operation:
    """What is measured on all ranks alike, whoever carries it out.

    Attributes
    ----------
    op : str or None
        None where nothing is folded.
    root : int or None
        None where all ranks play the same part.
    memory : {"plain", "registered"}
        Whether arrays lie where all ranks of the node see them.
    count : int
        Elements, as nccl-tests counts them: of one block where there are blocks.
    """

    collective: str
    dtype: str
    op: str | None
    root: int | None
    memory: str
    count: int
    in_place: bool


@dataclass(frozen=True)
class Part:
    """A piece of a result: elements of one rank's contribution (``source``), or of the fold."""

    source: int | None
    start: int


class Operands:
    """One rank's arrays for an operation. In place, one lies in the other.

    Parameters
    ----------
    memory : Memory
        What the arrays lie in.
    empty : callable, optional
        Makes them, as ``memory.private`` does, which it replaces.

    Attributes
    ----------
    input, output : array or None
        None where this rank has none.
    parts : list of Part
        What the result consists of, in pieces of equal length; none where this rank gets nothing.
    """

    def __init__(
        self,
        operation: Operation,
        rank: int,
        ranks: int,
        memory: Memory | None = None,
        empty: Callable[..., Array] | None = None,
    ) -> None:
        self.memory = memory or HostMemory()
        empty = self.memory.private if empty is None else empty
        self.rank = rank
        self.count = operation.count
        self._values = Values(operation.dtype, operation.op, ranks)
        self.parts = _parts(operation, rank, ranks)
        sent, received = _lengths(operation, rank, ranks)
        self._kind = kind = numpy_type(operation.dtype)
        self.input = None if sent is None else empty(sent, kind)
        self.output = None if received is None else empty(received, kind)
        if not operation.in_place or sent is None or received is None:
            return
        if sent == received:
            self.input = self.output
        elif received > sent:
            self.input = self._block(self.output, rank)
        else:
            self.output = self._block(self.input, rank)

    def fill(self) -> None:
        """Write this rank's contribution; elsewhere, bytes that are no result."""
        if self.output is not None:
            with changing(self.memory, self.output, self._kind) as content:
                content.view(np.uint8)[:] = 0xA5
        if self.input is not None:
            with changing(self.memory, self.input, self._kind) as content:
                self._values.fill(content, self.rank)

    def count_wrong(self, result: Array | None) -> int:
        """Return how many elements of a result are not what they must be."""
        if result is None:
            return sum(self.count for _ in self.parts)
        content = self.memory.read(result, self._kind)
        return sum(
            self._values.count_wrong(self._block(content, i), part.source, part.start)
            for i, part in enumerate(self.parts)
        )

    def _block(self, array: Array, number: int) -> Array:
        return array[number * self.count : (number + 1) * self.count]


def _lengths(operation: Operation, rank: int, ranks: int) -> tuple[int | None, int | None]:
    """Return the elements of input and output; None for an array that a rank does not have."""
    one = operation.count
    every = one * ranks
    at_root = rank == operation.root
    match operation.collective:
        case "all_reduce" | "send_recv":
            return one, one
        case "reduce":
            return one, one if at_root else None
        case "broadcast":
            return (one, None) if at_root else (None, one)
        case "reduce_scatter":
            return every, one
        case "all_gather":
            return one, every
        case "gather":
            return one, every if at_root else None
        case "scatter":
            return every if at_root else None, one
        case "all_to_all":
            return every, every
    return None, None  # barrier


def _parts(operation: Operation, rank: int, ranks: int) -> list[Part]:
    count = operation.count
    root = operation.root
    match operation.collective:
        case "all_reduce":
            return [Part(None, 0)]
        case "reduce":
            return [Part(None, 0)] if rank == root else []
        case "broadcast":
            return [Part(root, 0)]
        case "reduce_scatter":
            return [Part(None, rank * count)]
        case "all_gather":
            return [Part(source, 0) for source in range(ranks)]
        case "gather":
            return [Part(source, 0) for source in range(ranks)] if rank == root else []
        case "scatter":
            return [Part(root, rank * count)]
        case "all_to_all":
            return [Part(source, rank * count) for source in range(ranks)]
        case "send_recv":
            return [Part((rank - 1) % ranks, 0)]
    return []  # barrier
