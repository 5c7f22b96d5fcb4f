"""What a picture shows, in words above it."""

from __future__ import annotations

from pycoll.planning.picture.layout import MARGIN, Layout
from pycoll.planning.picture.palette import FAINT_INK, INK
from pycoll.planning.picture.svg import Svg, text_width
from pycoll.planning.plans import Plan
from pycoll.planning.quantities import format_bytes, format_seconds

PURPOSES = {
    "all_reduce": "Each rank has a vector; all get the fold (such as the sum) of all vectors.",
    "reduce": "Each rank has a vector; the root gets the fold (such as the sum) of all vectors.",
    "broadcast": "The root has a vector; all ranks get it.",
    "reduce_scatter": "Each rank has a block for every rank; each gets the fold of its blocks.",
    "all_gather": "Each rank has a block; all get the blocks of all.",
    "gather": "Each rank has a block; the root gets all of them.",
    "scatter": "The root has a block for every rank; each gets its own.",
    "all_to_all": "Each rank has a block for every rank; each gets the blocks that are for it.",
    "barrier": "No rank leaves before all have arrived.",
}


def draw_titles(svg: Svg, plan: Plan, drawn: Plan, layout: Layout) -> str:
    """Write the head lines; return the first."""
    title = f"{plan.collective} by {plan.algorithm}, {plan.ranks} ranks"
    if plan.size:
        title += f", {format_bytes(plan.size)}"
    seconds = plan.price.seconds
    title += f": {format_seconds(seconds)} predicted" if seconds else ": nothing to do"
    svg.text(MARGIN, 34, title, 19, fill=INK, font_weight="bold")
    svg.text(MARGIN, 56, PURPOSES[plan.collective], 13, fill=INK)
    lines = [f"Cost: {plan.description.cost}.  Source: {plan.description.source}."]
    moved = "messages" if plan.price.messages else "pieces"
    if drawn.chunk != plan.chunk:
        lines.append(
            f"Drawn with {moved} of up to {_longest(drawn)}, which would take "
            f"{format_seconds(drawn.price.seconds)}; the plan cuts them into {_chunks(plan)}."
        )
    elif plan.chunk:
        lines.append(f"{moved.capitalize()} are cut into {_chunks(plan)}.")
    for number, line in enumerate(lines):
        # A long line is set smaller rather than cut off.
        room = layout.width - 2 * MARGIN
        size = min(12.0, 12.0 * room / text_width(line, 12.0))
        svg.text(MARGIN, 76 + 17 * number, line, size, fill=FAINT_INK)
    return title


def _chunks(plan: Plan) -> str:
    return f"chunks of {format_bytes(plan.chunk * plan.element_size)}"


def _longest(plan: Plan) -> str:
    steps = (step for schedule in plan.schedules for step in schedule.steps)
    elements = max((step.srcs[0].count for step in steps if step.srcs), default=0)
    return format_bytes(elements * plan.element_size)
