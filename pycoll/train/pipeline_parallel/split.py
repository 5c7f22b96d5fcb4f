"""Cuts a list of layers into contiguous parts of about equal cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate


def split_layers(costs: Sequence[float], stages: int, chunks: int = 1) -> list[range]:
    """Return the layers of each part, for ``stages * chunks`` parts; see `partition`.

    Raises
    ------
    ValueError
        When there are fewer layers than parts; it says how many stages and chunks would do.
    """
    parts = stages * chunks
    if len(costs) < parts:
        layers = len(costs)
        of_chunks = f" of {chunks} chunks each" if chunks > 1 else ""
        fitting = [f"at most {layers // chunks} stages{of_chunks}"] if layers >= chunks else []
        if chunks > 1 and layers >= stages:
            fitting.append(f"at most {layers // stages} chunk(s) on {stages} stages")
        fitting.append(f"a model of at least {parts} layers")
        raise ValueError(
            f"{layers} layers cannot be shared out among {stages} stages{of_chunks}: "
            f"use {', or '.join(fitting)}"
        )
    return partition(costs, parts)


def partition(costs: Sequence[float], parts: int) -> list[range]:
    """Cut a list into contiguous parts, none empty, so that the costliest one costs least.

    Of all such ways it takes one whose sum of squares is least: no part gets much where it could
    get little. Exact, by dynamic programming over (parts, layers): O(parts layers^2).

    Parameters
    ----------
    costs : sequence of float
        Of each element, in any unit; none negative. At least ``parts`` of them.
    """
    if any(not 0 <= cost < float("inf") for cost in costs):
        raise ValueError(f"costs must be finite and not negative: {list(costs)}")
    if not 1 <= parts <= len(costs):
        raise ValueError(f"{len(costs)} elements cannot be cut into {parts} parts")
    sums = [0.0, *accumulate(map(float, costs))]
    limit = _best(sums, parts, float("inf"), lambda best, cost: max(best, cost))[0]
    # Sums of floats in another order differ in the last bits.
    limit *= 1 + 1e-12
    _, cuts = _best(sums, parts, limit, lambda best, cost: best + cost * cost)
    return [range(start, stop) for start, stop in zip([0, *cuts], [*cuts, len(costs)], strict=True)]


def _best(
    sums: list[float], parts: int, limit: float, add: Callable[[float, float], float]
) -> tuple[float, list[int]]:
    """Return the least total over parts of at most ``limit`` each, and where these begin."""
    count = len(sums) - 1
    infinite = float("inf")
    best = [0.0 if stop == 0 else infinite for stop in range(count + 1)]
    begins = []
    for part in range(1, parts + 1):
        following, begin = [infinite] * (count + 1), [0] * (count + 1)
        for stop in range(part, count - (parts - part) + 1):
            for start in range(part - 1, stop):
                cost = sums[stop] - sums[start]
                if cost > limit or best[start] == infinite:
                    continue
                total = add(best[start], cost)
                if total < following[stop]:
                    following[stop], begin[stop] = total, start
        best = following
        begins.append(begin)
    cuts = []
    stop = count
    for begin in reversed(begins[1:]):
        stop = begin[stop]
        cuts.append(stop)
    return best[count], cuts[::-1]
