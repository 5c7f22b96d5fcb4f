"""What each rank holds over time: the lanes."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from pycoll.planning.picture.layout import Layout
from pycoll.planning.picture.palette import FAINT_INK, INK, LANE, PAPER, colour, tint
from pycoll.planning.picture.pieces import Piece, Pieces
from pycoll.planning.picture.scene import Scene
from pycoll.planning.picture.story import ROOTED
from pycoll.planning.picture.svg import Svg, text_width
from pycoll.planning.plans import Plan

TEXT = 9.5


def shade(share: float) -> float:
    """Return the strength of a colour: what is complete stands out from all that is not."""
    return 1.0 if share >= 1 else 0.2 + 0.42 * share


def fill(piece: Piece, hues: int) -> str:
    """Return the colour of a piece."""
    return tint(colour(piece.hue, hues), shade(piece.share))


def draw_lanes(svg: Svg, scene: Scene, layout: Layout) -> None:
    """Draw the lanes with their names, rows and results."""
    for rank in range(layout.ranks):
        top, height = layout.lane_top(rank), layout.lane_height
        svg.rect(layout.left, top, layout.right - layout.left, height, fill=LANE)
        x, middle = layout.left - 12, top + height / 2
        svg.text(x, middle + 4, f"rank {rank}", 13, fill=INK, text_anchor="end")
        if role := _role(scene.plan, rank):
            svg.text(x, middle + 18, role, 11, fill=FAINT_INK, text_anchor="end")
    for (rank, row), held in _by_row(scene).items():
        times = [time for time, _ in held]
        for (start, piece), end in zip(held, [*times[1:], None], strict=True):
            _draw_held(svg, scene.pieces, layout, rank, row, start, end, piece)
    for rank, result in enumerate(scene.story.results):
        rows = sorted(piece.row for piece in scene.pieces.cut(result))
        _outline_result(svg, layout, rank, rows)


def _role(plan: Plan, rank: int) -> str:
    nodes = plan.requests[rank].nodes
    node = [f"node {nodes[rank]}"] if nodes else []
    root = ["root"] if plan.collective in ROOTED and rank == plan.root else []
    return ", ".join(root + node)


def _by_row(scene: Scene) -> dict[tuple[int, int], list[tuple[float, Piece]]]:
    """Return what each row of each rank shows, from when on."""
    rows: dict[tuple[int, int], list[tuple[float, Piece]]] = defaultdict(list)
    for holding in scene.story.holdings:
        for piece in scene.pieces.cut(holding.runs):
            shown = rows[holding.rank, piece.row]
            if shown:
                _, last = shown[-1]
                # Another buffer may hold less of the same piece: show the most complete.
                if last.hue == piece.hue and last.share >= piece.share:
                    continue
            shown.append((holding.time, piece))
    return rows


def _draw_held(
    svg: Svg,
    pieces: Pieces,
    layout: Layout,
    rank: int,
    row: int,
    start: float,
    end: float | None,
    piece: Piece,
) -> None:
    left = layout.left if start == 0 else layout.x(start)
    right = layout.right if end is None else layout.x(end)
    top = layout.row_top(rank, row)
    # Rows that are high enough are set apart by a line of paper.
    inset = 0.5 if layout.row_height >= 5 else 0.0
    svg.rect(
        left, top + inset, right - left, layout.row_height - 2 * inset,
        fill=fill(piece, pieces.hues),
    )  # fmt: skip
    label = label_of(pieces, piece)
    if layout.row_height >= 11 and text_width(label, TEXT) + 6 <= right - left:
        # What comes last is named inside the frame of the result, not across its edge.
        x = layout.end + 14 if left > layout.end - 24 else left + 4
        y = top + layout.row_height / 2 + 3.4
        svg.text(x, y, label, TEXT, fill=PAPER if piece.share >= 1 else INK)


def label_of(pieces: Pieces, piece: Piece) -> str:
    """Return whose contributions are in a piece, or, where nothing is folded, its name."""
    if not pieces.folds:
        return piece.name
    if piece.share >= 1:
        return "all"
    return "+".join(map(str, sorted(piece.origins)))


def _outline_result(svg: Svg, layout: Layout, rank: int, rows: list[int]) -> None:
    for first, last in runs(rows):
        top = layout.row_top(rank, first)
        svg.rect(
            layout.end + 10,
            top,
            layout.right - layout.end - 10,
            (last - first + 1) * layout.row_height,
            fill="none",
            stroke=INK,
            stroke_width=1.6,
        )


def runs(rows: list[int]) -> list[tuple[int, int]]:
    """Return the first and last of each run of consecutive numbers in a sorted list."""
    if not rows:
        return []
    breaks = [(a, b) for a, b in pairwise(rows) if b > a + 1]
    firsts = [rows[0], *(b for _, b in breaks)]
    lasts = [*(a for a, _ in breaks), rows[-1]]
    return list(zip(firsts, lasts, strict=True))
