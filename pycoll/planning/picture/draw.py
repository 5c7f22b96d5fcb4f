"""Draws a plan: one lane for each rank, time from left to right."""

from __future__ import annotations

from pycoll.planning.picture.arrows import draw_labels, draw_messages, draw_signals, draw_work
from pycoll.planning.picture.axis import draw_axis
from pycoll.planning.picture.lanes import draw_lanes
from pycoll.planning.picture.layout import Layout
from pycoll.planning.picture.legend import draw_legend
from pycoll.planning.picture.palette import PAPER
from pycoll.planning.picture.simplify import to_draw
from pycoll.planning.picture.svg import Svg
from pycoll.planning.picture.titles import draw_titles
from pycoll.planning.plans import Plan


def draw(plan: Plan) -> str:
    """Return the text of an SVG file; see `Plan.svg`."""
    scene = to_draw(plan)
    layout = Layout.of(scene)
    svg = Svg()
    title = draw_titles(svg, plan, scene.plan, layout)
    draw_axis(svg, layout)
    draw_signals(svg, scene, layout)
    draw_messages(svg, scene, layout)
    draw_lanes(svg, scene, layout)
    draw_work(svg, scene, layout)
    draw_labels(svg, scene, layout)
    height = draw_legend(svg, scene, layout)
    return svg.render(layout.width, height, title, PAPER)
