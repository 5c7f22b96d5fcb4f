"""Bandwidths of collectives as nccl-tests defines them (its doc/PERFORMANCE.md)."""

from __future__ import annotations

#: Collectives in which every rank holds a block, and the size counts the blocks of all ranks.
BLOCKWISE = frozenset({"reduce_scatter", "all_gather", "gather", "scatter", "all_to_all"})


def bus_factor(collective: str, ranks: int) -> float:
    """Return busbw / algbw: what a rank must send at least, as a share of the size.

    Comparing busbw with the speed of the hardware makes sense for any number of ranks.
    """
    if collective == "all_reduce":
        return 2 * (ranks - 1) / ranks
    if collective in BLOCKWISE:
        return (ranks - 1) / ranks
    return 1.0
