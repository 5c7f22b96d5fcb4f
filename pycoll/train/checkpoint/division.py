"""Which rank writes what: every element of every tensor at least once, and replicas only once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pycoll.train.checkpoint.intervals import Intervals
from pycoll.train.checkpoint.manifest import Entry


def entries_to_write(held: Sequence[Sequence[Entry]]) -> list[list[Entry]]:
    """Choose from what each rank holds what it writes.

    The lowest rank that holds some elements writes them. So rank 0 writes what is the same on all
    ranks, and no rank has to know its role in the mesh.

    Parameters
    ----------
    held : sequence of sequence of Entry
        For each rank; the same on all ranks.

    Raises
    ------
    ValueError
        When ranks do not agree on a tensor, or together lack some of its elements.
    """
    known: dict[str, Entry] = {}
    present: dict[str, Intervals] = {}
    chosen: list[list[Entry]] = []
    for rank, entries in enumerate(held):
        chosen.append([])
        names = [entry.name for entry in entries]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"rank {rank} holds {', '.join(twice)} more than once")
        for entry in entries:
            is_new = entry.name not in known  # one without elements is a tensor, too
            _require_one_tensor(known.setdefault(entry.name, entry), entry, rank)
            runs = entry.place.runs()
            there = present.setdefault(entry.name, Intervals())
            if is_new or not there.contain(runs.whole, runs.whole + runs.length):
                there.add(runs.whole, runs.whole + runs.length)
                chosen[rank].append(entry)
    for name, entry in known.items():
        if not present[name].cover(math.prod(entry.place.shape)):
            raise ValueError(
                f"no rank holds some of the elements of {name!r}, which has shape "
                f"{entry.place.shape}"
            )
    return chosen


def _require_one_tensor(first: Entry, entry: Entry, rank: int) -> None:
    if (first.place.shape, first.dtype) != (entry.place.shape, entry.dtype):
        raise ValueError(
            f"{entry.name!r} has shape {entry.place.shape} and dtype {entry.dtype} on rank {rank}, "
            f"but {first.place.shape} and {first.dtype} on a lower one"
        )
