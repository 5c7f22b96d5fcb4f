"""Pictures: what they tell is what the schedules do, and they are drawn whole."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycoll import _core
from pycoll.cost import default_model
from pycoll.planning import CostModel, Plan, plan
from pycoll.planning.picture.axis import nice_step
from pycoll.planning.picture.lanes import runs as consecutive
from pycoll.planning.picture.memory import Memory, Run, fold
from pycoll.planning.picture.palette import colour, tint
from pycoll.planning.picture.scene import Scene
from pycoll.planning.picture.simplify import MOST_MESSAGES, MOST_RANKS, to_draw
from pycoll.planning.picture.story import tell

ALGORITHMS = [(algorithm.collective, algorithm.name) for algorithm in _core.algorithms()]
SVG = "{http://www.w3.org/2000/svg}"

SPANNING = {
    (algorithm.collective, algorithm.name)
    for algorithm in _core.algorithms()
    if algorithm.spans_nodes
}

every_algorithm = pytest.mark.parametrize(("collective", "algorithm"), ALGORITHMS)


def sends(shown: Plan) -> int:
    return sum(step.kind == "send" for each in shown.schedules for step in each.steps)


def moves(shown: Plan) -> int:
    """Messages, and slices that go from one rank's memory to another's."""
    total = sends(shown)
    for rank, each in enumerate(shown.schedules):
        for step in each.steps:
            srcs = [rank if src.owner is None else src.owner for src in step.srcs]
            dst = rank if step.dst is None or step.dst.owner is None else step.dst.owner
            if step.kind == "copy":
                total += srcs[0] != dst
            elif step.kind == "reduce":
                total += sum(src != rank for src in srcs) + (dst != rank)
    return total


def model_for(collective: str, algorithm: str, ranks: int) -> CostModel:
    spans = (collective, algorithm) in SPANNING
    half = max(ranks // 2, 1)
    return default_model([rank // half for rank in range(ranks)] if spans else [])


def expected_names(scene: Scene, rank: int) -> list[str]:
    """What a rank's result must consist of, in words of its pieces."""
    shown = scene.plan
    ranks = [str(other) for other in range(shown.ranks)]
    if shown.collective in ("reduce", "gather") and rank != shown.root:
        return []
    if shown.collective in ("all_reduce", "reduce", "broadcast"):
        rows = scene.pieces.rows
        return ["whole"] if rows == 1 else [str(row) for row in range(rows)]
    if shown.collective in ("reduce_scatter", "scatter"):
        return [str(rank)]
    if shown.collective == "all_to_all":
        return [f"{origin}→{rank}" for origin in ranks]
    return ranks


@pytest.mark.parametrize(
    ("collective", "algorithm", "in_place"),
    [(*named, False) for named in ALGORITHMS]
    + [(*named, True) for named in ALGORITHMS if named[0] not in ("all_to_all", "barrier")],
)
@pytest.mark.parametrize("ranks", [1, 2, 5, 8])
@pytest.mark.parametrize("chunk_bytes", [256, 1 << 20])
def test_stories_end_with_the_right_results(
    collective: str, algorithm: str, ranks: int, in_place: bool, chunk_bytes: int
) -> None:
    if (collective, algorithm) in SPANNING and ranks == 1:
        pytest.skip("one rank has one node")
    shown = plan(
        collective,
        ranks=ranks,
        count=0 if collective == "barrier" else 41 * ranks,
        algorithm=algorithm,
        root=ranks - 1,
        chunk_bytes=chunk_bytes,
        in_place=in_place,
        model=model_for(collective, algorithm, ranks),
    )
    scene = Scene.of(shown)
    for rank, result in enumerate(scene.story.results):
        pieces = scene.pieces.cut(result)
        assert list(dict.fromkeys(piece.name for piece in pieces)) == expected_names(scene, rank)
        assert all(piece.share == 1 for piece in pieces)
        rows = [piece.row for piece in pieces]
        assert len(set(rows)) == len(rows)
        assert all(0 <= piece.row < scene.pieces.rows for piece in pieces)
        assert all(0 <= piece.hue < scene.pieces.hues for piece in pieces)
    assert len(scene.story.messages) == moves(shown)
    assert sum(message.sent for message in scene.story.messages) == sends(shown)


def test_stories_tell_who_put_what_together_when() -> None:
    story = tell(plan("all_reduce", ranks=3, count=3, algorithm="ring"))
    first = story.messages[0]
    assert (first.start, first.bytes) == (0, 4)
    assert first.arrival == pytest.approx(default_model().intra_node.alpha, rel=0.01)
    [run] = first.runs
    assert (run.origins, run.count) == (frozenset({first.src}), 1)
    folds = [work.runs[0] for work in story.work if work.kind == "fold"]
    assert sorted(len(run.origins) for run in folds) == [2, 2, 2, 3, 3, 3]
    times = [holding.time for holding in story.holdings]
    assert times == sorted(times)


def test_barriers_tell_who_has_heard_of_whom() -> None:
    story = tell(plan("barrier", ranks=8, algorithm="dissemination"))
    rounds: dict[float, set[int]] = {}
    for message in story.messages:
        rounds.setdefault(message.start, set()).add(len(message.runs))
    assert [rounds[start] for start in sorted(rounds)] == [{1}, {2}, {4}]


def test_stories_tell_who_signals_whom() -> None:
    shown = plan("all_reduce", ranks=3, count=9, algorithm="direct")
    story = tell(shown)
    pairs = sorted((signal.src, signal.dst) for signal in story.signals)
    # They meet first, and again at the end.
    every = [(src, dst) for src in range(3) for dst in range(3) if src != dst]
    assert pairs == sorted(every * 2)
    assert {signal.start for signal in story.signals[:6]} == {0}
    last = story.signals[-1]
    assert last.arrival == pytest.approx(shown.price.seconds)
    assert last.arrival - last.start == pytest.approx(default_model().signal, rel=0.01)
    assert not any(message.sent for message in story.messages)


def test_one_shot_barriers_tell_that_all_have_arrived() -> None:
    scene = Scene.of(plan("barrier", ranks=4, algorithm="one_shot"))
    assert len(scene.story.signals) == 12
    assert scene.story.messages == []
    assert "signal, to the end of the wait for it" in plan("barrier", ranks=4).svg()


@every_algorithm
@pytest.mark.parametrize("ranks", [1, 2, 7])
def test_pictures_are_whole(collective: str, algorithm: str, ranks: int) -> None:
    if (collective, algorithm) in SPANNING and ranks == 1:
        pytest.skip("one rank has one node")
    shown = plan(
        collective,
        ranks=ranks,
        count=5_003,
        algorithm=algorithm,
        root=ranks // 2,
        model=model_for(collective, algorithm, ranks),
    )
    picture = ElementTree.fromstring(shown.svg())
    width, height = float(picture.attrib["width"]), float(picture.attrib["height"])
    texts = [text.text or "" for text in picture.iter(f"{SVG}text")]
    assert [text for text in texts if text.startswith("rank ")] == [
        f"rank {rank}" for rank in range(ranks)
    ]
    assert texts[0].startswith(f"{collective} by {algorithm}, {ranks} ranks")
    assert any(text.startswith("Cost: ") for text in texts)
    # An arrow head for each message, and one in the legend.
    drawn = moves(to_draw(shown).plan)
    assert len(picture.findall(f"{SVG}polygon")) == (drawn + 1 if drawn else 0)
    for rect in picture.findall(f"{SVG}rect")[1:]:
        x, y, w, h = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        assert w > 0
        assert h > 0
    for line in picture.findall(f"{SVG}line"):
        assert all(0 <= float(line.attrib[name]) <= width for name in ("x1", "x2"))
        assert all(0 <= float(line.attrib[name]) <= height for name in ("y1", "y2"))


def test_pictures_have_their_own_background_and_are_the_same_every_time() -> None:
    shown = plan("all_reduce", ranks=4, count=1000, algorithm="ring")
    assert shown.svg() == shown.svg()
    assert ElementTree.fromstring(shown.svg())[1].attrib["fill"] == "#ffffff"


def test_long_pipelines_are_drawn_with_fewer_chunks_and_say_so() -> None:
    shown = plan("broadcast", ranks=6, count=1 << 24, algorithm="chain", chunk_bytes=1 << 16)
    drawn = to_draw(shown).plan
    assert sends(shown) == 5 * 1024
    assert 5 * 3 <= sends(drawn) <= MOST_MESSAGES
    assert drawn.price.seconds > shown.price.seconds
    assert "the plan cuts them into chunks of 64 KiB" in shown.svg()


def test_short_schedules_are_drawn_as_they_are() -> None:
    shown = plan("all_reduce", ranks=4, count=64, algorithm="ring", chunk_bytes=64)
    assert to_draw(shown).plan is shown
    assert "Drawn with" not in shown.svg()


def test_nodes_and_the_root_are_named() -> None:
    model = default_model([0, 0, 1, 1])
    text = plan("broadcast", ranks=4, count=64, root=2, model=model).svg()
    assert re.findall(r">((?:root, )?node \d)<", text) == [
        "node 0",
        "node 0",
        "root, node 1",
        "node 1",
    ]


def test_too_many_ranks_are_refused() -> None:
    assert len(plan("barrier", ranks=MOST_RANKS).svg()) > 0
    with pytest.raises(ValueError, match=f"room for {MOST_RANKS} ranks, not {MOST_RANKS + 1}"):
        plan("barrier", ranks=MOST_RANKS + 1).svg()


def test_colours_differ_and_tints_go_to_white() -> None:
    for total in range(1, 33):
        assert len({colour(index, total) for index in range(total)}) == total
    assert tint("#204060", 1) == "#204060"
    assert tint("#204060", 0) == "#ffffff"


def test_axes_have_round_steps() -> None:
    assert [nice_step(length, 10) for length in (0.9, 7, 10, 11, 40, 55)] == pytest.approx(
        [0.1, 1, 1, 2, 5, 10]
    )


def test_runs_of_numbers_are_found() -> None:
    assert consecutive([]) == []
    assert consecutive([3]) == [(3, 3)]
    assert consecutive([0, 1, 2, 5, 7, 8]) == [(0, 2), (5, 5), (7, 8)]


def run_of(origin: int, index: int, count: int) -> Run:
    return Run(frozenset({origin}), index, count)


def test_memory_is_overwritten_in_parts() -> None:
    memory = Memory()
    memory.write("output", 0, [run_of(0, 0, 10)])
    memory.write("output", 4, [run_of(1, 7, 2), run_of(2, 0, 1)])
    assert memory.read("output", 0, 10) == [
        run_of(0, 0, 4),
        run_of(1, 7, 2),
        run_of(2, 0, 1),
        run_of(0, 7, 3),
    ]
    assert memory.read("output", 5, 3) == [run_of(1, 8, 1), run_of(2, 0, 1), run_of(0, 7, 1)]
    assert memory.read("output", 3, 0) == []


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.lists(st.integers(1, 5), min_size=1, max_size=4)),
        max_size=8,
    ),
    st.integers(0, 30),
    st.integers(0, 10),
)
def test_memory_of_runs_holds_what_memory_of_elements_does(
    writes: list[tuple[int, list[int]]], offset: int, count: int
) -> None:
    memory, elements = Memory(), [(0, index) for index in range(50)]
    memory.write("scratch", 0, [run_of(0, 0, 50)])
    for number, (at, lengths) in enumerate(writes, start=1):
        runs = [run_of(number, 100 * part, length) for part, length in enumerate(lengths)]
        memory.write("scratch", at, runs)
        flat = elements_of(runs)
        elements[at : at + len(flat)] = flat
    assert elements_of(memory.read("scratch", offset, count)) == elements[offset : offset + count]


def elements_of(runs: list[Run]) -> list[tuple[int, int]]:
    return [(min(run.origins), run.index + i) for run in runs for i in range(run.count)]


def test_folds_cut_runs_where_any_operand_is_cut() -> None:
    folded = fold([[run_of(0, 0, 6)], [run_of(1, 0, 2), Run(frozenset({2, 3}), 2, 4)]])
    assert folded == [Run(frozenset({0, 1}), 0, 2), Run(frozenset({0, 2, 3}), 2, 4)]
