"""The arrays of one measured call, and what must be in them afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pycoll.bench.values import Values, numpy_type

Array: TypeAlias = NDArray[Any]


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
    empty : callable
        Makes the arrays, as `numpy.empty` does.

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
        empty: Callable[..., Array] = np.empty,
    ) -> None:
        self.rank = rank
        self.count = count = operation.count
        self._values = Values(operation.dtype, operation.op, ranks)
        self.parts = _parts(operation, rank, ranks)
        sent, received = _lengths(operation, rank, ranks)
        kind = numpy_type(operation.dtype)
        self.input = None if sent is None else empty(sent, kind)
        self.output = None if received is None else empty(received, kind)
        if not operation.in_place or self.input is None or self.output is None:
            return
        if sent == received:
            self.input = self.output
        elif self.output.size > self.input.size:
            self.input = self.output[rank * count : (rank + 1) * count]
        else:
            self.output = self.input[rank * count : (rank + 1) * count]

    def fill(self) -> None:
        """Write this rank's contribution; elsewhere, bytes that are no result."""
        if self.output is not None:
            self.output.view(np.uint8)[:] = 0xA5
        if self.input is not None:
            self._values.fill(self.input, self.rank)

    def count_wrong(self, result: Array | None) -> int:
        """Return how many elements of a result are not what they must be."""
        if result is None:
            return sum(self.count for _ in self.parts)
        count = self.count
        return sum(
            self._values.count_wrong(result[i * count : (i + 1) * count], part.source, part.start)
            for i, part in enumerate(self.parts)
        )


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
