"""Which plan to draw: one with fewer, larger chunks where there are too many to see."""

from __future__ import annotations

from pycoll.planning.picture.scene import Scene
from pycoll.planning.plans import REACH, Plan, plan

MOST_RANKS = 32
# How an algorithm pipelines shows with some chunks as well as with all; more arrows than these are
# a grey blur on a screen.
ENOUGH_ROWS = 6
MOST_MESSAGES = 700


def to_draw(wanted: Plan) -> Scene:
    """Return the scene of a plan, or of one with larger chunks for which there is room."""
    if wanted.ranks > MOST_RANKS:
        raise ValueError(
            f"a picture has room for {MOST_RANKS} ranks, not {wanted.ranks}; draw fewer ranks"
        )
    if wanted.failure:
        raise ValueError(f"only proven schedules can be drawn: {wanted.failure}")
    drawn = wanted
    # Chunks that are certainly too small are not worth building.
    chunk = max(wanted.chunk, -(-wanted.count // _most_rows(wanted))) if wanted.chunk else 0
    while True:
        if chunk != drawn.chunk:
            drawn = _with_chunk(wanted, chunk)
        scene = Scene.of(drawn)
        if chunk == 0 or _fits(scene):
            return scene
        chunk = chunk * 2 if chunk * 2 < wanted.count else 0


def _fits(scene: Scene) -> bool:
    return len(scene.story.messages) <= MOST_MESSAGES and scene.pieces.rows <= _most_rows(
        scene.plan
    )


def _most_rows(plan: Plan) -> int:
    # Many algorithms cut the vector into a block for each rank.
    return max(ENOUGH_ROWS, plan.ranks)


def _with_chunk(wanted: Plan, chunk: int) -> Plan:
    # A chunk as long as the whole vector cuts nothing.
    chunk_bytes = (chunk or max(wanted.count, 1)) * wanted.element_size
    return plan(
        wanted.collective,
        ranks=wanted.ranks,
        count=wanted.count,
        dtype=wanted.dtype,
        algorithm=wanted.algorithm,
        root=wanted.root,
        chunk_bytes=chunk_bytes,
        in_place=wanted.in_place,
        memory=next(memory for memory, reach in REACH.items() if reach == wanted.reach),
        model=wanted.model,
    )
