"""What a rank's buffers hold, symbolically: runs of elements with one history."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Run:
    """Neighbouring elements: what ``origins`` had from ``index`` on in their inputs."""

    origins: frozenset[int]
    index: int
    count: int

    def part(self, skip: int, count: int) -> Run:
        """Return ``count`` of the elements, without the first ``skip``."""
        return Run(self.origins, self.index + skip, count)


class Memory:
    """The buffers of one rank."""

    def __init__(self) -> None:
        # By buffer, in order: where a run starts, and the run.
        self._buffers: dict[str, list[tuple[int, Run]]] = defaultdict(list)

    def write(self, buffer: str, offset: int, runs: list[Run]) -> None:
        """Put runs side by side, over whatever was there."""
        end = offset + sum(run.count for run in runs)
        old = self._buffers[buffer]
        before, behind = [], []
        for start, run in old:
            if start < offset:
                before.append((start, run.part(0, min(run.count, offset - start))))
            if start + run.count > end:
                skip = max(end - start, 0)
                behind.append((start + skip, run.part(skip, run.count - skip)))
        starts = accumulate((run.count for run in runs[:-1]), initial=offset)
        self._buffers[buffer] = [*before, *zip(starts, runs, strict=True), *behind]

    def read(self, buffer: str, offset: int, count: int) -> list[Run]:
        """Return the runs in some elements; all of them must have been written."""
        runs = self._buffers[buffer]
        found = []
        at = max(bisect_right(runs, offset, key=lambda item: item[0]) - 1, 0)
        end = offset + count
        while offset < end:
            start, run = runs[at]
            skip = offset - start
            length = min(run.count - skip, end - offset)
            found.append(run.part(skip, length))
            offset += length
            at += 1
        return found


def fold(operands: list[list[Run]]) -> list[Run]:
    """Return the fold of equally long sequences of runs."""
    return [
        Run(frozenset().union(*(run.origins for run in runs)), runs[0].index, runs[0].count)
        for runs in _side_by_side(operands)
    ]


def _side_by_side(operands: list[list[Run]]) -> Iterator[list[Run]]:
    """Cut all sequences wherever one is cut."""
    ends = [list(accumulate(run.count for run in runs)) for runs in operands]
    start = 0
    for end in sorted(set().union(*ends)):
        yield [_at(runs, bounds, start, end) for runs, bounds in zip(operands, ends, strict=True)]
        start = end


def _at(runs: list[Run], ends: list[int], start: int, end: int) -> Run:
    number = bisect_right(ends, start)
    run = runs[number]
    return run.part(start - (ends[number] - run.count), end - start)
