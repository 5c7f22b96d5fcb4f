"""The time axis."""

from __future__ import annotations

import math

from pycoll.planning.picture.layout import Layout
from pycoll.planning.picture.palette import FAINT_INK, GRID, INK
from pycoll.planning.picture.svg import Svg

TICK_TEXT = 11.0


def draw_axis(svg: Svg, layout: Layout) -> None:
    """Draw the time axis below the lanes, with lines up through them."""
    top, bottom = layout.lane_top(0) - 8, layout.bottom + 10
    # Beyond 10 ms microseconds have more digits than anyone reads.
    unit, width = ("ms", 1e-3) if layout.seconds >= 10e-3 else ("µs", 1e-6)
    step = nice_step(layout.seconds / width, layout.plot / 90)
    for number in range(math.floor(layout.seconds / width / step * (1 + 1e-9)) + 1):
        time = number * step
        x = layout.x(time * width)
        svg.line(x, top, x, bottom, stroke=GRID, stroke_width=1)
        svg.text(x, bottom + 14, f"{time:g}", TICK_TEXT, fill=FAINT_INK, text_anchor="middle")
    svg.line(layout.start, top, layout.start, bottom, stroke=FAINT_INK, stroke_dasharray="4 3")
    svg.line(layout.end, top, layout.end, bottom, stroke=FAINT_INK, stroke_dasharray="4 3")
    svg.line(layout.start, bottom, layout.end, bottom, stroke=FAINT_INK)
    middle = (layout.start + layout.end) / 2
    svg.text(middle, bottom + 30, f"time in {unit} (predicted)", 12, fill=INK, text_anchor="middle")
    caption = {"font_style": "italic", "fill": FAINT_INK, "text_anchor": "middle"}
    svg.text((layout.left + layout.start) / 2, top - 4, "before", 11, **caption)
    svg.text((layout.end + layout.right) / 2, top - 4, "after", 11, **caption)


def nice_step(length: float, most: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that makes at most ``most`` steps."""
    least = length / max(most, 1.0)
    power: float = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)
