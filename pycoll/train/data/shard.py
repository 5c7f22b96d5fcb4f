"""How a batch is cut into one contiguous piece per rank."""

from __future__ import annotations


def shard(count: int, rank: int, size: int) -> slice:
    """Return the part of ``range(count)`` that ``rank`` of ``size`` ranks works on.

    The pieces cover everything exactly once, in rank order, and differ by at most one element;
    with fewer elements than ranks the last ranks get an empty piece.
    """
    small, large = divmod(count, size)
    start = rank * small + min(rank, large)
    return slice(start, start + small + (rank < large))
