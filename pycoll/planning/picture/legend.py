"""What the signs of a picture mean."""

from __future__ import annotations

from typing import Any

from pycoll.planning.model_words import model_in_words
from pycoll.planning.picture.lanes import shade
from pycoll.planning.picture.layout import AXIS, MARGIN, Layout
from pycoll.planning.picture.palette import DASHES, FAINT_INK, INK, PAPER, SIGNAL, colour, tint
from pycoll.planning.picture.pieces import Pieces
from pycoll.planning.picture.scene import Scene
from pycoll.planning.picture.svg import Svg, text_width

SIZE = 12.0
LINE = 24.0
# More swatches than these say nothing that the colours in the lanes do not.
MOST_SWATCHES = 16

MEANINGS = {
    "all_reduce": "piece of the vector",
    "reduce": "piece of the vector",
    "broadcast": "piece of the vector",
    "reduce_scatter": "block for rank",
    "all_gather": "block of rank",
    "gather": "block of rank",
    "scatter": "block for rank",
    "all_to_all": "block for rank",
    "barrier": "knows that this rank has arrived",
}


class _Legend:
    """Signs and words from left to right, line by line."""

    def __init__(self, svg: Svg, layout: Layout) -> None:
        self.svg = svg
        self.x = MARGIN
        self.y = layout.bottom + AXIS + 24
        self._right = layout.width - MARGIN

    def room(self, width: float) -> None:
        """Go to the next line unless there is room in this one."""
        if self.x + width > self._right and self.x > MARGIN:
            self.new_line()

    def new_line(self) -> None:
        self.x = MARGIN
        self.y += LINE

    def words(self, content: str, fill: str = INK) -> None:
        self.svg.text(self.x, self.y + 4, content, SIZE, fill=fill)
        self.x += text_width(content, SIZE) + 10

    def swatch(self, content: str, width: float = 16.0, **attributes: Any) -> None:
        """Draw a box and what it means."""
        self.room(width + text_width(content, SIZE) + 18)
        self.svg.rect(self.x, self.y - 7, width, 13, **attributes)
        self.x += width + 6
        self.words(content)


def draw_legend(svg: Svg, scene: Scene, layout: Layout) -> float:
    """Draw the legend below the axis; return the height of the whole picture."""
    legend = _Legend(svg, layout)
    legend.words("Each lane is a rank, its rows what it holds.")
    _name_colours(legend, scene.pieces)
    if scene.pieces.folds and scene.story.messages:
        legend.new_line()
        _name_shades(legend, scene)
    if scene.story.messages or scene.story.signals:
        legend.new_line()
        _name_signs(legend, scene)
    legend.new_line()
    legend.words("Time by the model:", FAINT_INK)
    *phrases, last = model_in_words(scene.plan.model.within(scene.plan.reach), scene.plan.ranks)
    for phrase in (*(f"{phrase};" for phrase in phrases), f"{last}."):
        legend.room(text_width(phrase, SIZE))
        legend.words(phrase, FAINT_INK)
    return legend.y + MARGIN


def _name_colours(legend: _Legend, pieces: Pieces) -> None:
    meaning = MEANINGS[pieces.collective]
    if pieces.hues > MOST_SWATCHES:
        legend.words(f"Colours: {meaning}.")
    elif pieces.hues > 1:
        legend.words(f"{meaning[0].upper()}{meaning[1:]}:")
        for hue in range(pieces.hues):
            legend.swatch(str(hue), fill=colour(hue, pieces.hues))


def _name_shades(legend: _Legend, scene: Scene) -> None:
    legend.words("Shade:")
    ranks = scene.plan.ranks
    sample = colour(0, scene.pieces.hues)
    if ranks > 1:
        legend.swatch("one rank's contribution", fill=tint(sample, shade(1 / ranks)))
    if ranks > 2:
        legend.swatch("those of some", fill=tint(sample, shade((ranks - 1) / ranks)))
    legend.swatch("those of all: the result", fill=sample)


def _arrow_in_words(kinds: set[bool]) -> str:
    if kinds == {True}:
        return "message, from its start to its arrival"
    straight = "read or written straight in a peer's memory"
    return straight if kinds == {False} else f"message, or {straight}"


def _name_signs(legend: _Legend, scene: Scene) -> None:
    y = legend.y
    if scene.story.messages:
        x = legend.x
        legend.svg.line(x, y - 6, x + 14, y + 3, stroke=INK, stroke_width=2)
        legend.svg.polygon([(x + 19, y + 6), (x + 10.5, y + 4.5), (x + 14, y - 1)], fill=INK)
        legend.x += 26
        legend.words(_arrow_in_words({message.sent for message in scene.story.messages}))
    if scene.story.signals:
        legend.room(28 + text_width("signal, to the end of the wait for it", SIZE))
        legend.svg.line(legend.x, legend.y, legend.x + 22, legend.y, **SIGNAL)
        legend.x += 28
        legend.words("signal, to the end of the wait for it")
    if scene.pieces.folds and scene.story.messages:
        legend.room(34 + text_width("with contributions still missing", SIZE))
        y = legend.y
        legend.x += 6
        legend.svg.line(legend.x, y, legend.x + 22, y, stroke=INK, stroke_width=2, **DASHES)
        legend.x += 28
        legend.words("with contributions still missing")
    kinds = {work.kind for work in scene.story.work}
    if "fold" in kinds:
        legend.swatch(
            "fold: contributions are put together", fill=PAPER, stroke=INK, stroke_width=1.1
        )
    if "copy" in kinds:
        legend.swatch(
            "copy", fill=PAPER, stroke=FAINT_INK, stroke_width=0.8, stroke_dasharray="2 2"
        )
    if any(scene.story.results):
        legend.swatch("the rank's result", fill="none", stroke=INK, stroke_width=1.6)
