"""Which server keeps what: each keeps its part of every bucket.

The parts of a bucket differ by one element at most. So all servers keep and answer the same amount,
whatever the sizes of the parameters, and all of them are busy throughout a backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pycoll.train.array_module import Array
from pycoll.train.data.shard import shard
from pycoll.train.layers.parameter import Parameter

Named = tuple[str, Parameter]


@dataclass(frozen=True)
class Piece:
    """Neighbouring elements of one parameter that lie in one part.

    Attributes
    ----------
    start, stop : int
        Where in the flattened parameter.
    offset : int
        Where in the part the first of them lies.
    """

    name: str
    parameter: Parameter
    start: int
    stop: int
    offset: int

    @property
    def inside(self) -> slice:
        """Where in the part it lies."""
        return slice(self.offset, self.offset + self.stop - self.start)

    @property
    def values(self) -> Array:
        """The elements themselves: a view, 1-D."""
        return self.parameter.data.reshape(-1)[self.start : self.stop]


@dataclass(frozen=True)
class Part:
    """The neighbouring elements of one bucket that one server keeps.

    Attributes
    ----------
    server : int
        Its number among the servers.
    start, stop : int
        Where in the bucket.
    """

    server: int
    start: int
    stop: int
    pieces: tuple[Piece, ...]

    @property
    def count(self) -> int:
        """Number of elements."""
        return self.stop - self.start

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of its elements."""
        return self.pieces[0].parameter.data.dtype


def parts_of(members: Sequence[Named], servers: int) -> list[Part]:
    """Cut a bucket into a part per server; servers that would get nothing have none."""
    total = sum(parameter.data.size for _, parameter in members)
    parts = []
    for server in range(servers):
        cut = shard(total, server, servers)
        if cut.stop > cut.start:
            pieces = tuple(_pieces(members, cut.start, cut.stop))
            parts.append(Part(server, cut.start, cut.stop, pieces))
    return parts


def _pieces(members: Sequence[Named], start: int, stop: int) -> list[Piece]:
    pieces = []
    first = 0
    for name, parameter in members:
        begin, end = max(start, first), min(stop, first + parameter.data.size)
        if begin < end:
            pieces.append(Piece(name, parameter, begin - first, end - first, begin - start))
        first += parameter.data.size
    return pieces
