"""Messages and work: the arrows between lanes and the boxes in them."""

from __future__ import annotations

from dataclasses import dataclass, field

from pycoll.planning.picture.lanes import runs
from pycoll.planning.picture.layout import Layout
from pycoll.planning.picture.palette import DASHES, FAINT_INK, INK, PAPER, SIGNAL, colour
from pycoll.planning.picture.pieces import Piece, Pieces
from pycoll.planning.picture.scene import Scene
from pycoll.planning.picture.story import Message, Signal, Work
from pycoll.planning.picture.svg import Svg, text_width
from pycoll.planning.quantities import format_bytes

LABEL = 10.0
# A message of many pieces is a ribbon with a strand for each, but no wider than this.
RIBBON = 11.0


def draw_messages(svg: Svg, scene: Scene, layout: Layout) -> None:
    """Draw an arrow for each message; to be covered by the lanes that it only passes."""
    # Long ways first: they lie below the others.
    for message in sorted(
        scene.story.messages, key=lambda message: -abs(message.dst - message.src)
    ):
        _draw_message(svg, message, scene.pieces, layout)


def draw_signals(svg: Svg, scene: Scene, layout: Layout) -> None:
    """Draw a thin line for each signal, from when it is given to when the wait for it is over."""
    for signal in scene.story.signals:
        x1, y1, x2, y2 = _ends(signal, layout)
        svg.line(
            x1,
            y1,
            x2,
            y2,
            **SIGNAL,
            tooltip=f"{signal.src} → {signal.dst}: signal, {signal.start * 1e6:.1f} to "
            f"{signal.arrival * 1e6:.1f} µs",
        )


def _ends(message: Message | Signal, layout: Layout) -> tuple[float, float, float, float]:
    down = message.dst > message.src
    leaves = layout.lane_bottom(message.src) if down else layout.lane_top(message.src)
    arrives = layout.lane_top(message.dst) if down else layout.lane_bottom(message.dst)
    return layout.x(message.start), leaves, layout.x(message.arrival), arrives


def _draw_message(svg: Svg, message: Message, pieces: Pieces, layout: Layout) -> None:
    x1, y1, x2, y2 = _ends(message, layout)
    carried = pieces.cut(message.runs)
    tooltip = (
        f"{message.src} → {message.dst}: {names_of(carried)}, "
        f"{format_bytes(message.bytes)}, {message.start * 1e6:.1f} to "
        f"{message.arrival * 1e6:.1f} µs"
    )
    strands = [colour(piece.hue, pieces.hues) for piece in carried]
    width = min(2.2, RIBBON / max(len(strands), 1))
    # Strands lie side by side across the arrow, and end below its head.
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    along = ((x2 - x1) / length, (y2 - y1) / length)
    across = (-along[1], along[0])
    head = 7.0
    for number, stroke in enumerate(strands):
        aside = (number - (len(strands) - 1) / 2) * width
        dx, dy = across[0] * aside, across[1] * aside
        svg.line(
            x1 + dx,
            y1 + dy,
            x2 + dx - along[0] * head,
            y2 + dy - along[1] * head,
            stroke=stroke,
            stroke_width=width,
            tooltip=tooltip,
            **dash(carried[number]),
        )
    half = max(3.2, len(strands) * width / 2 + 1.6)
    back = (x2 - along[0] * (head + 1), y2 - along[1] * (head + 1))
    svg.polygon(
        [
            (x2, y2),
            (back[0] + across[0] * half, back[1] + across[1] * half),
            (back[0] - across[0] * half, back[1] - across[1] * half),
        ],
        fill=strands[0] if len(set(strands)) == 1 else INK,
        tooltip=tooltip,
    )


def dash(piece: Piece) -> dict[str, str]:
    """Return how a strand is drawn: dashed where contributions are missing."""
    return {} if piece.share >= 1 else DASHES


def draw_work(svg: Svg, scene: Scene, layout: Layout) -> None:
    """Draw a box for each fold and copy, over the rows it writes."""
    for work in scene.story.work:
        pieces = scene.pieces.cut(work.runs)
        for first, last in runs(sorted(piece.row for piece in pieces)):
            _draw_box(svg, work, names_of(pieces), layout, first, last)


def _draw_box(svg: Svg, work: Work, names: str, layout: Layout, first: int, last: int) -> None:
    left, right = layout.x(work.start), layout.x(work.end)
    if right - left < 2.5:
        left = right - 2.5
    is_fold = work.kind == "fold"
    svg.rect(
        left,
        layout.row_top(work.rank, first) + 0.5,
        right - left,
        (last - first + 1) * layout.row_height - 1,
        fill=PAPER,
        fill_opacity=0.45,
        stroke=INK if is_fold else FAINT_INK,
        stroke_width=1.1 if is_fold else 0.8,
        **({} if is_fold else {"stroke_dasharray": "2 2"}),
        tooltip=f"rank {work.rank}: {work.kind} of {names}, "
        f"{work.start * 1e6:.1f} to {work.end * 1e6:.1f} µs",
    )


@dataclass
class _Labels:
    """Labels drawn so far: a new one goes only where none is."""

    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)

    def claim(self, x: float, y: float, width: float, height: float) -> bool:
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        for other in self.boxes:
            if (
                box[0] < other[2] + 3
                and other[0] < box[2] + 3
                and box[1] < other[3]
                and other[1] < box[3]
            ):
                return False
        self.boxes.append(box)
        return True


def draw_labels(svg: Svg, scene: Scene, layout: Layout) -> None:
    """Say on as many arrows as there is room for what they carry."""
    labels = _Labels()
    for message in scene.story.messages:
        carried = scene.pieces.cut(message.runs)
        name = names_of(carried)
        width = text_width(name, LABEL) + 8
        for x, y in _label_places(message, layout):
            if not labels.claim(x, y, width, LABEL + 4):
                continue
            hue = colour(carried[0].hue, scene.pieces.hues)
            mixed = len({piece.hue for piece in carried}) > 1
            svg.rect(
                x - width / 2,
                y - (LABEL + 4) / 2,
                width,
                LABEL + 4,
                rx=4,
                fill=PAPER,
                stroke=FAINT_INK if mixed else hue,
                stroke_width=1,
            )
            svg.text(x, y + 3.6, name, LABEL, fill=INK, text_anchor="middle")
            break


def _label_places(message: Message, layout: Layout) -> list[tuple[float, float]]:
    """Return the middles of the gaps that an arrow crosses, those at its ends first."""
    x1, y1, x2, y2 = _ends(message, layout)
    step = 1 if message.dst > message.src else -1
    gaps = range(message.src, message.dst, step)
    places = []
    for upper in (min(rank, rank + step) for rank in gaps):
        y = layout.lane_bottom(upper) + layout.gap / 2
        places.append((x1 + (x2 - x1) * (y - y1) / (y2 - y1), y))
    return sorted(places, key=lambda place: min(abs(place[1] - y1), abs(place[1] - y2)))


def names_of(pieces: list[Piece]) -> str:
    """Return the names of pieces, runs of numbers shortened: ``0-3, 7``."""
    names = list(dict.fromkeys(piece.name for piece in pieces))
    if not all(name.isdigit() for name in names):
        return ", ".join(names)
    return ", ".join(
        str(first) if first == last else f"{first}-{last}"
        for first, last in runs(sorted(map(int, names)))
    )
