"""Where an array lies in a tensor of the whole model.

A tensor may be cut twice: along an axis, between the ranks of tensor parallelism (`Shard`), and
what is left, flattened, between the ranks of data parallelism (ZeRO). A place is a list of *runs*:
stretches of consecutive elements, both of the array and of the flattened whole. With runs, any
two places can be compared without knowing by which mesh they were made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pycoll.train.checkpoint.intervals import Indices
from pycoll.train.data_parallel.piece import Piece
from pycoll.train.layers.parameter import Parameter
from pycoll.train.layers.shard import Shard


class Runs(NamedTuple):
    """Stretches of elements; three arrays of one length, in the order of ``local``.

    Attributes
    ----------
    whole, local : NDArray
        First element of each, in the flattened whole and in the array.
    length : NDArray
        Number of elements of each, at least 1.
    """

    whole: Indices
    local: Indices
    length: Indices


@dataclass(frozen=True)
class Place:
    """Elements ``start`` to ``stop`` of a part, flattened, of a tensor.

    Attributes
    ----------
    shape : tuple of int
        Of the whole tensor.
    shard : Shard, optional
        Which part of it; all of it when None.
    start, stop : int
        Of the part, in C order.
    """

    shape: tuple[int, ...]
    shard: Shard | None
    start: int
    stop: int

    def __post_init__(self) -> None:
        if self.shard is not None and self.shard.shape != self.shape:
            raise ValueError(f"{self.shard} is no part of a tensor of shape {self.shape}")
        part = self.shape if self.shard is None else self.shard.part_shape
        if not 0 <= self.start <= self.stop <= math.prod(part):
            raise ValueError(
                f"elements {self.start} to {self.stop} lie outside a part of shape {part}"
            )

    @classmethod
    def of_whole(cls, shape: tuple[int, ...]) -> Place:
        """Return the place of an uncut tensor."""
        return cls(shape, None, 0, math.prod(shape))

    @classmethod
    def of(cls, parameter: Parameter) -> Place:
        """Return the place of a parameter, or of a piece of one, in the whole model."""
        shard = parameter.shard
        if isinstance(parameter, Piece):
            shape = parameter.whole.data.shape if shard is None else shard.shape
            return cls(shape, shard, parameter.start, parameter.stop)
        shape = parameter.data.shape if shard is None else shard.shape
        return cls(shape, shard, 0, parameter.data.size)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.stop - self.start

    def runs(self) -> Runs:
        """Return the place as runs, as few as possible."""
        if self.shard is None:
            whole = local = np.zeros(1, dtype=np.int64)
            length = np.array([math.prod(self.shape)], dtype=np.int64)
        else:
            whole, local, length = _merged(_runs_of(self.shard))
        begin = np.maximum(local, self.start)
        end = np.minimum(local + length, self.stop)
        some = begin < end
        return Runs((whole + begin - local)[some], (begin - self.start)[some], (end - begin)[some])


def overlap(source: Place, target: Place) -> Runs:
    """Return what two places of one tensor have in common.

    Returns
    -------
    Runs
        ``whole`` counts elements of the *source* array here, ``local`` those of the target.
    """
    found: list[tuple[int, int, int]] = []
    ours, theirs = target.runs(), source.runs()
    order = np.argsort(ours.whole)
    starts = ours.whole[order]
    stops = starts + ours.length[order]
    local = ours.local[order]
    firsts = np.searchsorted(stops, theirs.whole, side="right")
    lasts = np.searchsorted(starts, theirs.whole + theirs.length, side="left")
    for number, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        whole, length = theirs.whole[number], theirs.length[number]
        for at in range(first, last):
            begin = max(whole, starts[at])
            end = min(whole + length, stops[at])
            found.append(
                (theirs.local[number] + begin - whole, local[at] + begin - starts[at], end - begin)
            )
    columns = np.array(found, dtype=np.int64).reshape(-1, 3)
    return Runs(columns[:, 0], columns[:, 1], columns[:, 2])


def copy_runs(runs: Runs, source: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
    """Copy what `overlap` has found between the two arrays, both 1-D."""
    for begin, at, length in zip(*runs, strict=True):
        target[at : at + length] = source[begin : begin + length]


def _runs_of(shard: Shard) -> Runs:
    outer = np.arange(math.prod(shard.shape[: shard.axis]), dtype=np.int64)[:, None]
    inner = math.prod(shard.shape[shard.axis + 1 :])
    starts, stops = np.array(shard.ranges, dtype=np.int64).reshape(-1, 2).T
    offsets = np.cumsum(stops - starts) - (stops - starts)
    whole = (outer * shard.shape[shard.axis] + starts) * inner
    local = (outer * shard.part_shape[shard.axis] + offsets) * inner
    length = np.broadcast_to((stops - starts) * inner, whole.shape)
    return Runs(whole.reshape(-1), local.reshape(-1), length.reshape(-1))


def _merged(runs: Runs) -> Runs:
    some = runs.length > 0
    whole, local, length = (array[some] for array in runs)
    if len(whole) == 0:
        return Runs(whole, local, length)
    begins = np.concatenate([[True], whole[1:] != whole[:-1] + length[:-1]])
    first = np.flatnonzero(begins)
    return Runs(whole[first], local[first], np.add.reduceat(length, first))
