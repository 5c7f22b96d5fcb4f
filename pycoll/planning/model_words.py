"""A cost model in words."""

from __future__ import annotations

from pycoll._core import CostModel
from pycoll.layout import format_layout
from pycoll.planning.quantities import format_seconds


def model_in_words(model: CostModel, ranks: int) -> list[str]:
    """Return the numbers of a cost model that matter for so many ranks, phrase by phrase."""
    links = [("", model.intra_node)]
    nodes = model.nodes or [0] * ranks
    crowd = max(map(nodes.count, nodes))
    if len(set(nodes)) > 1:
        links = [("inside a node ", model.intra_node), ("between nodes ", model.inter_node)]
    parts = [
        f"{where}alpha {format_seconds(link.alpha)} per message and beta {_rate(link.beta)}"
        for where, link in links
    ]
    parts.append(f"gamma {_rate(model.gamma)} folded and {_rate(model.copy)} copied")
    if model.fetch:
        parts.append(f"{_rate(model.fetch)} from core to core on top")
    if model.cma.alpha or model.cma.beta:
        parts.append(
            f"{format_seconds(model.cma.alpha)} more per copy of the kernel, and "
            f"{_rate(model.cma.beta)} on top"
        )
    if model.signal:
        parts.append(f"{format_seconds(model.signal)} per signal")
    if 0 < model.cores_per_node < crowd:
        parts.append(f"{format_seconds(model.wake)} more for each rank of a core")
    if len(set(nodes)) > 1:
        parts.append(f"{format_layout(nodes)} ranks on nodes")
    if model.cores_per_node:
        parts.append(f"{model.cores_per_node} core(s) per node")
    return parts


def _rate(seconds_per_byte: float) -> str:
    """Return a cost per byte the other way round, in which it is more familiar."""
    return f"{1e-9 / seconds_per_byte:.3g} GB/s" if seconds_per_byte > 0 else "no time"
