"""A pipeline as a picture: a lane for each stage, time from left to right."""

from __future__ import annotations

from typing import Any, Protocol

from pycoll.planning.picture.axis import nice_step
from pycoll.planning.picture.palette import FAINT_INK, GRID, INK, LANE, PAPER, tint
from pycoll.planning.picture.svg import Svg, text_width
from pycoll.train.pipeline_parallel.plan import PipelinePlan
from pycoll.train.pipeline_parallel.step import Step

FORWARD = "#3b6fc9"
BACKWARD = "#2a9d6f"
MARGIN = 24.0
LEFT = 84.0  # names of the stages
RIGHT = 116.0  # their activations
TOP = 108.0
LANE_HEIGHT = 34.0
GAP = 12.0
NUMBER = 11.0
LEAST_BOX = 22.0
WIDTHS = 640.0, 1500.0


class Canvas(Protocol):
    """What a picture is drawn on; see `Svg`."""

    def rect(self, x: float, y: float, width: float, height: float, **attributes: Any) -> None:
        """Draw a rectangle."""

    def line(self, x1: float, y1: float, x2: float, y2: float, **attributes: Any) -> None:
        """Draw a line."""

    def text(self, x: float, y: float, content: str, size: float, **attributes: Any) -> None:
        """Write a line of text."""


def draw_svg(plan: PipelinePlan) -> str:
    """Return the text of an SVG file."""
    svg = Svg()
    width, height = draw(plan, svg)
    return svg.render(width, height, title_of(plan), PAPER)


def title_of(plan: PipelinePlan) -> str:
    """Return what the picture shows, and its bubble, in a line."""
    chunks = f" x {plan.chunks} chunks" if plan.chunks > 1 else ""
    return (
        f"{plan.schedule}: {plan.stages} stages{chunks}, {plan.micro_batches} micro-batches, "
        f"bubble {100 * plan.simulation.bubble:.1f} %"
    )


def draw(plan: PipelinePlan, canvas: Canvas) -> tuple[float, float]:
    """Draw a plan; return the width and height that it takes."""
    seconds = plan.simulation.seconds or 1.0
    shortest = min(
        (end - start for start, end, step in _computed(plan) if end > start), default=seconds
    )
    plot = min(max(LEAST_BOX * seconds / shortest, WIDTHS[0]), WIDTHS[1])
    scale = plot / seconds
    width = LEFT + plot + RIGHT + MARGIN
    bottom = TOP + plan.stages * (LANE_HEIGHT + GAP) - GAP
    _draw_head(plan, canvas, width)
    _draw_axis(canvas, seconds, scale, bottom)
    _draw_lanes(plan, canvas, plot)
    _draw_messages(plan, canvas, scale)
    for stage in range(plan.stages):
        timeline = plan.simulation.timeline[stage]
        for step, (start, end) in zip(plan.steps[stage], timeline, strict=True):
            if not step.is_message:
                _draw_box(plan, canvas, stage, step, LEFT + start * scale, (end - start) * scale)
    legend_bottom = _draw_legend(plan, canvas, bottom + 58, plot)
    return width, legend_bottom + MARGIN


def _computed(plan: PipelinePlan) -> list[tuple[float, float, Step]]:
    return [
        (start, end, step)
        for steps, timeline in zip(plan.steps, plan.simulation.timeline, strict=True)
        for step, (start, end) in zip(steps, timeline, strict=True)
        if not step.is_message
    ]


def _lane_top(stage: int) -> float:
    return TOP + stage * (LANE_HEIGHT + GAP)


def _colour(plan: PipelinePlan, step: Step) -> str:
    """Later chunks are paler."""
    full = FORWARD if step.kind == "forward" else BACKWARD
    return tint(full, 1.0 - 0.65 * step.chunk / plan.chunks)


def _draw_head(plan: PipelinePlan, canvas: Canvas, width: float) -> None:
    canvas.text(MARGIN, 34, title_of(plan), 18, fill=INK, font_weight="bold")
    lines = [plan.description.purpose, f"Source: {plan.description.source}."]
    for number, line in enumerate(lines):
        size = min(12.0, 12.0 * (width - 2 * MARGIN) / text_width(line, 12.0))
        canvas.text(MARGIN, 56 + 17 * number, line, size, fill=FAINT_INK)
    if plan.description.trains:
        canvas.text(
            width - MARGIN, TOP - 10, "most activations", 11, fill=FAINT_INK, text_anchor="end"
        )


def _draw_axis(canvas: Canvas, seconds: float, scale: float, bottom: float) -> None:
    step = nice_step(seconds, seconds * scale / 70)
    for number in range(int(seconds / step * (1 + 1e-9)) + 1):
        x = LEFT + number * step * scale
        canvas.line(x, TOP - 6, x, bottom + 8, stroke=GRID, stroke_width=1)
        canvas.text(x, bottom + 22, f"{number * step:g}", 11, fill=FAINT_INK, text_anchor="middle")
    caption = "time, in units of the given costs (predicted)"
    canvas.text(
        LEFT + seconds * scale / 2, bottom + 40, caption, 12, fill=INK, text_anchor="middle"
    )


def _draw_lanes(plan: PipelinePlan, canvas: Canvas, plot: float) -> None:
    for stage in range(plan.stages):
        top = _lane_top(stage)
        canvas.rect(LEFT, top, plot, LANE_HEIGHT, fill=LANE)
        middle = top + LANE_HEIGHT / 2 + 4
        canvas.text(LEFT - 12, middle, f"stage {stage}", 13, fill=INK, text_anchor="end")
        if plan.description.trains:
            canvas.text(
                LEFT + plot + RIGHT,
                middle,
                str(plan.simulation.peaks[stage]),
                13,
                fill=INK,
                text_anchor="end",
            )


def _draw_messages(plan: PipelinePlan, canvas: Canvas, scale: float) -> None:
    """Draw each message from where it is sent to where it is there."""
    for stage in range(plan.stages):
        timeline = plan.simulation.timeline[stage]
        for step, (start, _) in zip(plan.steps[stage], timeline, strict=True):
            # Those round from the last stage to the first would cross everything.
            if not step.kind.startswith("send") or abs((step.peer or 0) - stage) != 1:
                continue
            down = (step.peer or 0) > stage
            y1 = _lane_top(stage) + (LANE_HEIGHT if down else 0)
            y2 = _lane_top(step.peer or 0) + (0 if down else LANE_HEIGHT)
            x1 = LEFT + start * scale
            x2 = x1 + plan.costs.message * scale
            is_gradient = step.kind == "send_gradient"
            colour = tint(BACKWARD if is_gradient else FORWARD, 0.7)
            canvas.line(x1, y1, x2, y2, stroke=colour, stroke_width=1.4)


def _draw_box(
    plan: PipelinePlan, canvas: Canvas, stage: int, step: Step, x: float, width: float
) -> None:
    top = _lane_top(stage)
    # A line of paper sets it apart from the next one.
    canvas.rect(x, top, max(width - 1, 0.6), LANE_HEIGHT, fill=_colour(plan, step))
    number = str(step.micro_batch)
    if text_width(number, NUMBER) + 2 <= width:
        is_pale = step.chunk / plan.chunks > 0.5
        canvas.text(
            x + width / 2,
            top + LANE_HEIGHT / 2 + 4,
            number,
            NUMBER,
            fill=INK if is_pale else PAPER,
            text_anchor="middle",
        )


def _draw_legend(plan: PipelinePlan, canvas: Canvas, top: float, plot: float) -> float:
    kinds = ("forward", "backward") if plan.description.trains else ("forward",)
    boxes = [
        (
            _colour(plan, Step(kind, 0, chunk)),  # type: ignore[arg-type]
            kind + (f", chunk {chunk}" if plan.chunks > 1 else ""),
        )
        for kind in kinds
        for chunk in range(plan.chunks)
    ]
    boxes.append((LANE, "idle"))
    x, y = LEFT, top
    for colour, text in boxes:
        if x + 30 + text_width(text, 12) > LEFT + plot:
            x, y = LEFT, y + 22
        canvas.rect(x, y, 16, 14, fill=colour)
        canvas.text(x + 22, y + 11, text, 12, fill=INK)
        x += 46 + text_width(text, 12)
    notes = ["Numbers are micro-batches; lines between lanes are messages."]
    if plan.chunks > 1:
        notes[0] = (
            "Numbers are micro-batches; lines between lanes are messages (those between the last "
            "stage and the first are not drawn)."
        )
    if plan.description.trains:
        per = "forward passes of one chunk" if plan.chunks > 1 else "micro-batches"
        notes.append(
            f"Right: the most {per} whose activations a stage keeps for backward at a time."
        )
    for number, note in enumerate(notes):
        canvas.text(LEFT, y + 36 + 17 * number, note, 12, fill=FAINT_INK)
    return y + 36 + 17 * (len(notes) - 1)
