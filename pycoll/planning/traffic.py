"""What a plan moves, in words."""

from __future__ import annotations

from pycoll import _core
from pycoll.planning.plans import Plan
from pycoll.planning.quantities import format_bytes


def traffic_in_words(shown: Plan) -> str:
    """Return what the busiest rank sends, copies, folds and signals, and all send together."""
    price = shown.price
    copied = max(
        sum(_count(step) for step in schedule.steps if step.kind == "copy")
        for schedule in shown.schedules
    )
    signals = max(
        sum(step.kind == "signal" for step in schedule.steps) for schedule in shown.schedules
    )
    parts = []
    if price.messages or not signals:
        parts.append(f"{price.messages} message(s), {format_bytes(price.bytes_sent)} sent")
    if signals:
        parts.append(f"{signals} signal(s), {format_bytes(copied * shown.element_size)} copied")
    parts.append(f"{format_bytes(price.bytes_folded)} folded")
    text = f"at most {', '.join(parts[:-1])} and {parts[-1]} per rank"
    return (
        text
        if signals and not price.messages
        else (f"{text}; {format_bytes(price.total_bytes)} sent in all")
    )


def _count(step: _core.Step) -> int:
    return 0 if step.dst is None else step.dst.count
