"""The picture of a pipeline as PNG, by matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pycoll.planning.picture.palette import PAPER
from pycoll.train.pipeline_parallel.picture import draw
from pycoll.train.pipeline_parallel.plan import PipelinePlan

_PIXELS_PER_INCH = 100.0
_POINTS_PER_PIXEL = 72 / _PIXELS_PER_INCH
_ALIGNED: dict[str, Literal["left", "center", "right"]] = {
    "start": "left",
    "middle": "center",
    "end": "right",
}
# So that it is sharp on screens of high resolution, too.
_ENLARGED = 2


class _Sheet:
    """Takes the calls of `Svg` and makes shapes of matplotlib of them."""

    def __init__(self) -> None:
        self.artists: list[Any] = []

    def rect(self, x: float, y: float, width: float, height: float, **attributes: Any) -> None:
        from matplotlib.patches import Rectangle

        self.artists.append(
            Rectangle((x, y), width, height, facecolor=attributes["fill"], linewidth=0)
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, **attributes: Any) -> None:
        from matplotlib.lines import Line2D

        width = attributes["stroke_width"] * _POINTS_PER_PIXEL
        self.artists.append(Line2D([x1, x2], [y1, y2], color=attributes["stroke"], linewidth=width))

    def text(self, x: float, y: float, content: str, size: float, **attributes: Any) -> None:
        from matplotlib.text import Text

        self.artists.append(
            Text(
                x,
                y,
                content,
                fontsize=size * _POINTS_PER_PIXEL,
                color=attributes["fill"],
                horizontalalignment=_ALIGNED[attributes.get("text_anchor", "start")],
                verticalalignment="baseline",
                fontweight=attributes.get("font_weight", "normal"),
            )
        )


def write_png(plan: PipelinePlan, path: Path) -> None:
    """Draw a plan into a file.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    # Here, since it takes half a second, which those who draw nothing should not spend.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sheet = _Sheet()
    width, height = draw(plan, sheet)
    figure = Figure(
        figsize=(width / _PIXELS_PER_INCH, height / _PIXELS_PER_INCH),
        dpi=_PIXELS_PER_INCH * _ENLARGED,
        facecolor=PAPER,
    )
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for order, artist in enumerate(sheet.artists):
        artist.set_zorder(order)
        axes.add_artist(artist)
    figure.savefig(path, format="png")
