"""All that a picture shows of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from pycoll.planning.picture.pieces import Pieces
from pycoll.planning.picture.story import Story, tell
from pycoll.planning.plans import Plan


@dataclass(frozen=True)
class Scene:
    """A plan, what happens in it, and the pieces into which that cuts the data."""

    plan: Plan
    story: Story
    pieces: Pieces

    @classmethod
    def of(cls, plan: Plan) -> Scene:
        """Return the scene of a proven plan."""
        story = tell(plan)
        held = (run for holding in story.holdings for run in holding.runs)
        sent = (run for message in story.messages for run in message.runs)
        return cls(plan, story, Pieces(plan, chain(held, sent)))
