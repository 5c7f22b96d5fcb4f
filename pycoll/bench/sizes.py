"""Which sizes are measured, and how many elements each means."""

from __future__ import annotations

from pycoll.planning.bandwidth import BLOCKWISE

DEFAULT_STEP = 1 << 20


def size_range(first: int, last: int, step: int | None, factor: int | None) -> tuple[int, ...]:
    """Return the sizes from ``first`` to ``last`` at most, in bytes.

    Parameters
    ----------
    step : int, optional
        What is added from one to the next; 1 MiB when neither is given.
    factor : int, optional
        What each is multiplied by instead; from 2.

    Raises
    ------
    ValueError
        When there is none, or no end to them.
    """
    if first > last:
        raise ValueError(f"the first size ({first} B) is above the last ({last} B)")
    if first == 0 and factor is not None:
        raise ValueError("sizes that are multiplied must start above 0: set -b (--minbytes)")
    if step == 0:
        raise ValueError("the step between sizes (-i, --stepbytes) must be above 0")
    sizes = [first]
    while True:
        following = sizes[-1] * factor if factor else sizes[-1] + (step or DEFAULT_STEP)
        if following > last:
            return tuple(sizes)
        sizes.append(following)


def count_and_size(collective: str, size: int, element_size: int, ranks: int) -> tuple[int, int]:
    """Return the count of a call, and the bytes that it really means.

    As in nccl-tests, the size of a collective on blocks covers the blocks of all ranks, and its
    count is that of one block. Sizes are rounded down to whole elements, but to no fewer than one
    per block.
    """
    blocks = ranks if collective in BLOCKWISE else 1
    count = 0 if collective == "barrier" else max(1, size // (element_size * blocks))
    return count, count * blocks * element_size
