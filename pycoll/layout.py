"""How many ranks each node has, in the words of PYCOLL_NODES: "2x4", "3+5"."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence


def parse_layout(text: str, ranks: int) -> list[int]:
    """Return the number of each rank's node, by a text such as "2x4" or "3+5".

    Raises
    ------
    ValueError
        When it is no such text, or of another number of ranks.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match:
        sizes = [int(match[2])] * int(match[1])
    elif re.fullmatch(r"\d+(\+\d+)*", text):
        sizes = [int(size) for size in text.split("+")]
    else:
        sizes = []
    if sum(sizes) != ranks or 0 in sizes:
        raise ValueError(
            f"{text!r}; with {ranks} ranks it must be numbers of ranks that add up to {ranks}, "
            f"such as 2+{max(ranks - 2, 1)}, or nodes x ranks, such as 1x{ranks}"
        )
    return [node for node, size in enumerate(sizes) for _ in range(size)]


def format_layout(nodes: Sequence[int]) -> str:
    """Return how many ranks each node has: "2x4" where all have as many, else "3+5"."""
    counted = Counter(nodes)
    sizes = [counted[node] for node in sorted(counted)]
    return f"{len(sizes)}x{sizes[0]}" if len(set(sizes)) == 1 else "+".join(map(str, sizes))
