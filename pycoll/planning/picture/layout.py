"""Where things are in a picture, in pixels."""

from __future__ import annotations

from dataclasses import dataclass

from pycoll.planning.picture.scene import Scene

HEADER = 104.0
LEFT = 84.0  # names of the ranks
MARGIN = 24.0
BEFORE = 58.0  # what ranks hold before the call
AFTER = 70.0
AXIS = 44.0


@dataclass(frozen=True)
class Layout:
    """Lanes one below the other, rows inside lanes, time from left to right."""

    ranks: int
    rows: int
    seconds: float
    plot: float
    row_height: float
    gap: float

    @classmethod
    def of(cls, scene: Scene) -> Layout:
        """Return a layout with room for what happens in a plan."""
        rows = max(scene.pieces.rows, 1)
        # Rows of 14 pixels have room for text; a lane of more than 56 would push others away.
        lane = min(max(14.0 * rows, 20.0), 56.0)
        moves = scene.story.messages + scene.story.signals
        rounds = len({round(move.start * 1e9) for move in moves})
        return cls(
            ranks=scene.plan.ranks,
            rows=rows,
            seconds=max(scene.plan.price.seconds, 1e-9),
            plot=min(max(110.0 * rounds, 560.0), 1280.0),
            row_height=lane / rows,
            gap=46.0 if scene.plan.ranks <= 8 else 34.0,
        )

    @property
    def lane_height(self) -> float:
        """Height of all rows of a lane."""
        return self.row_height * self.rows

    @property
    def left(self) -> float:
        """Where lanes start."""
        return LEFT

    @property
    def start(self) -> float:
        """Where the call starts."""
        return LEFT + BEFORE

    @property
    def end(self) -> float:
        """Where the call ends."""
        return self.start + self.plot

    @property
    def right(self) -> float:
        """Where lanes end."""
        return self.end + AFTER

    @property
    def width(self) -> float:
        """Of the whole picture."""
        return self.right + MARGIN

    @property
    def bottom(self) -> float:
        """Where the last lane ends."""
        return self.lane_bottom(self.ranks - 1)

    def x(self, seconds: float) -> float:
        """Where a time is."""
        return self.start + self.plot * seconds / self.seconds

    def lane_top(self, rank: int) -> float:
        """Where a rank's lane begins."""
        return HEADER + 30.0 + rank * (self.lane_height + self.gap)

    def lane_bottom(self, rank: int) -> float:
        """Where a rank's lane ends."""
        return self.lane_top(rank) + self.lane_height

    def row_top(self, rank: int, row: int) -> float:
        """Where a row of a lane begins."""
        return self.lane_top(rank) + row * self.row_height
