"""Writing SVG as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import escape, quoteattr

FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"


class Svg:
    """A growing drawing. Coordinates are pixels from the top left; attributes go through as is."""

    def __init__(self) -> None:
        self._elements: list[str] = []

    def add(self, tag: str, content: str = "", tooltip: str = "", **attributes: Any) -> None:
        """Append an element. An underscore in an attribute's name stands for a hyphen."""
        text = "".join(
            f" {name.replace('_', '-')}={quoteattr(_number(value))}"
            for name, value in attributes.items()
        )
        inner = escape(content)
        if tooltip:
            inner += f"<title>{escape(tooltip)}</title>"
        self._elements.append(f"<{tag}{text}>{inner}</{tag}>" if inner else f"<{tag}{text}/>")

    def rect(self, x: float, y: float, width: float, height: float, **attributes: Any) -> None:
        """Append a rectangle by its top left corner."""
        self.add("rect", x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), **attributes)

    def line(self, x1: float, y1: float, x2: float, y2: float, **attributes: Any) -> None:
        """Append a straight line."""
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)

    def polygon(self, points: Iterable[tuple[float, float]], **attributes: Any) -> None:
        """Append a filled polygon."""
        text = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
        self.add("polygon", points=text, **attributes)

    def text(self, x: float, y: float, content: str, size: float, **attributes: Any) -> None:
        """Append a line of text; ``y`` is its baseline."""
        self.add("text", content, x=x, y=y, font_size=size, **attributes)

    def render(self, width: float, height: float, description: str, background: str) -> str:
        """Return the file. Its own background makes it readable on dark pages, too."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_number(width)}" '
            f'height="{_number(height)}" viewBox="0 0 {_number(width)} {_number(height)}" '
            f'font-family="{FONT}" role="img">'
        )
        title = f"<title>{escape(description)}</title>"
        paper = f'<rect width="100%" height="100%" rx="8" fill="{background}"/>'
        return "\n".join([head, title, paper, *self._elements, "</svg>", ""])


def text_width(content: str, size: float) -> float:
    """Return about how wide a line of text is: fonts differ, so this errs on the wide side."""
    return len(content) * size * 0.56


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
