"""Plans: proven, priced and chosen as calls are."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycoll import _core
from pycoll.cost import default_model
from pycoll.layout import parse_layout
from pycoll.planning import CostModel, Link, Plan, candidates, plan
from pycoll.planning.plans import REACH
from pycoll.tuning.file import Measured, Tuning

ALGORITHMS = [(algorithm.collective, algorithm.name) for algorithm in _core.algorithms()]
ENTRIES = {(algorithm.collective, algorithm.name): algorithm for algorithm in _core.algorithms()}
# Powers of two, so that predicted times are exact sums.
MODEL = CostModel(intra_node=Link(alpha=2**-17, beta=2**-32), gamma=2**-33, copy=2**-34)


def can_be_in_place(collective: str) -> bool:
    return collective not in ("all_to_all", "barrier")


def nodes_for(collective: str, algorithm: str, ranks: int, first: int) -> list[int]:
    """The first few ranks on a node, the others on another: what spans nodes needs several."""
    spans = ENTRIES[collective, algorithm].spans_nodes
    return [int(rank >= first) for rank in range(ranks)] if spans else []


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_plan_is_proven_and_takes_time(data: st.DataObject) -> None:
    collective, algorithm = data.draw(st.sampled_from(ALGORITHMS))
    spans = ENTRIES[collective, algorithm].spans_nodes
    ranks = data.draw(st.integers(2 if spans else 1, 12))
    made = plan(
        collective,
        ranks=ranks,
        count=data.draw(st.integers(0, 300)),
        dtype=data.draw(st.sampled_from(sorted(_core.DTYPE_SIZES))),
        algorithm=algorithm,
        root=data.draw(st.integers(0, ranks - 1)),
        chunk_bytes=data.draw(st.none() | st.integers(1, 500)),
        in_place=can_be_in_place(collective) and data.draw(st.booleans()),
        model=default_model(
            nodes_for(collective, algorithm, ranks, data.draw(st.integers(1, max(ranks - 1, 1)))),
            data.draw(st.integers(0, 3)),
        ),
    )
    assert made.failure is None
    times = [time for steps in made.price.timeline for interval in steps for time in interval]
    if times:
        assert made.price.seconds == max(times)
    else:  # the ranks of a node may still meet
        has_company = ranks > 1 and len(set(made.model.nodes)) < ranks
        assert (made.price.seconds > 0) == (made.schedules[0].meets_first and has_company)
    if ranks > 1 and (made.count > 0 or collective == "barrier"):
        assert made.price.seconds > 0


def test_plans_of_many_gigabytes_are_proven() -> None:
    made = plan("all_reduce", ranks=7, count=(1 << 33) + 5, algorithm="ring")
    assert made.failure is None


def test_an_uncut_ring_costs_what_its_formula_says() -> None:
    ranks, count = 8, 1 << 16
    made = plan(
        "all_reduce", ranks=ranks, count=count, algorithm="ring", chunk_bytes=1 << 30, model=MODEL
    )
    block = count // ranks * 4
    message = MODEL.intra_node.alpha + MODEL.intra_node.beta * block
    assert made.price.seconds == (ranks - 1) * (2 * message + MODEL.gamma * block)
    assert made.price.messages == 2 * (ranks - 1)
    assert made.price.bytes_sent == 2 * (ranks - 1) * block
    assert made.price.bytes_folded == (ranks - 1) * block
    assert made.price.total_bytes == ranks * made.price.bytes_sent


@pytest.mark.parametrize("ranks", [2, 5, 8, 13])
def test_pairwise_messages_do_not_wait_for_each_other(ranks: int) -> None:
    """In every round each rank sends and receives once: (p-1) rounds, however ranks are walked."""
    made = plan("all_to_all", ranks=ranks, count=1 << 14, algorithm="pairwise", model=MODEL)
    message = MODEL.intra_node.alpha + MODEL.intra_node.beta * made.count * 4
    assert made.price.seconds == (ranks - 1) * message


def test_chunks_hide_folding_behind_the_wire() -> None:
    whole, cut = (
        plan("all_reduce", ranks=4, count=1 << 20, algorithm="ring", chunk_bytes=chunk, model=MODEL)
        for chunk in (1 << 30, 1 << 18)
    )
    assert cut.price.seconds < whole.price.seconds


def test_crowded_cores_and_distant_nodes_cost_time() -> None:
    def seconds(model: CostModel) -> float:
        return plan("all_reduce", ranks=8, count=1000, algorithm="ring", model=model).price.seconds

    near = seconds(default_model())
    assert seconds(default_model(cores_per_node=2)) == pytest.approx(4 * near)
    assert seconds(default_model(parse_layout("2x4", 8))) > near


def test_bandwidths_are_those_of_nccl_tests() -> None:
    reduced = plan("all_reduce", ranks=8, count=1 << 18)
    assert reduced.size == 1 << 20
    assert reduced.algorithm_bandwidth == reduced.size / reduced.price.seconds
    assert reduced.bus_bandwidth == reduced.algorithm_bandwidth * 14 / 8
    gathered = plan("all_gather", ranks=8, count=1 << 15)
    assert gathered.size == 1 << 20
    assert gathered.bus_bandwidth == gathered.algorithm_bandwidth * 7 / 8
    assert plan("all_reduce", ranks=8, count=0).algorithm_bandwidth == 0


@pytest.mark.parametrize("collective", _core.COLLECTIVES)
@pytest.mark.parametrize("count", [0, 100, 1 << 18])
@pytest.mark.parametrize("memory", REACH)
def test_auto_takes_the_candidate_with_the_least_time(
    collective: str, count: int, memory: str
) -> None:
    model = default_model()
    model.takes_lines_over = False  # whatever this processor does
    made = plan(collective, ranks=8, count=count, memory=memory, model=model)
    found = candidates(made)
    assert made.algorithm == found[0].algorithm
    assert [candidate.chosen for candidate in found] == [True] + [False] * (len(found) - 1)
    within = list(REACH.values())[: 1 + list(REACH).index(memory)]
    able = {
        entry.name
        for entry in ENTRIES.values()
        if entry.collective == collective and entry.reach in within and not entry.spans_nodes
    }
    # What is too long for one slot of the stage cannot go in one shot, and the kernel copies
    # nothing that leaves the caches.
    passed_over = {"one_shot", "direct"} if memory == "plain" else {"one_shot"}
    assert able - {candidate.algorithm for candidate in found} <= (
        passed_over if count == 1 << 18 else set()
    )
    assert {candidate.algorithm for candidate in found} <= able
    times = [candidate.seconds for candidate in found]
    assert times == sorted(times, key=lambda time: math.inf if time is None else time)


def test_candidates_for_very_many_ranks_have_no_time() -> None:
    made = plan("barrier", ranks=200)
    assert [candidate.seconds for candidate in candidates(made)] == [None, None]


def test_memory_decides_what_auto_takes() -> None:
    """Long calls move straight between registered arrays, and through stages otherwise."""
    model = default_model(cores_per_node=2)

    def chosen(count: int, memory: str | None) -> str:
        return plan("all_reduce", ranks=8, count=count, memory=memory, model=model).algorithm

    for memory, long_one in [
        (None, "direct"), ("hidden", "staged_ring"), ("plain", "staged_ring"),
        ("registered", "direct"),
    ]:  # fmt: skip
        assert chosen(2, memory) == "one_shot"
        assert chosen(1 << 20, memory) == long_one
    assert chosen(2, "none") == "recursive_doubling"


def test_what_the_kernel_copies_takes_longer() -> None:
    """Between plain arrays direct serves, too; short calls and folds on many ranks it does not."""

    def direct(memory: str) -> Plan:
        return plan("broadcast", ranks=2, count=1 << 18, algorithm="direct", memory=memory)

    plain, registered = direct("plain"), direct("registered")
    assert plain.algorithm == registered.algorithm == "direct"
    assert plain.price.seconds > registered.price.seconds
    folds = {"count": 1 << 16, "memory": "plain"}
    model = default_model()
    for model.takes_lines_over, algorithm in ((False, "direct"), (True, "staged")):
        assert plan("reduce", ranks=2, model=model, **folds).algorithm.startswith(algorithm)
    assert plan("broadcast", ranks=2, count=1 << 18, memory="plain").algorithm == "direct"
    assert plan("broadcast", ranks=2, count=4, memory="plain").algorithm == "one_shot"
    assert plain.model.cma.alpha > 0, "what a machine costs stays as it was"


def test_an_algorithm_brings_the_memory_that_it_needs() -> None:
    wanted = {"ring": "stages", "one_shot": "stages", "direct": "mapped"}
    for algorithm, reach in wanted.items():
        made = plan("all_reduce", ranks=4, count=64, algorithm=algorithm)
        assert (made.algorithm, made.reach) == (algorithm, reach)
    # As in a call in which a rank's array is not registered, where the kernel copies nothing.
    assert plan("all_reduce", ranks=4, algorithm="direct", memory="hidden").algorithm == "staged"
    with pytest.raises(ValueError, match="needs ranks that share memory"):
        plan("all_reduce", ranks=4, algorithm="staged", memory="none")


@pytest.mark.parametrize("layout", ["2x4", "3+5"])
@pytest.mark.parametrize(
    "collective", ["all_reduce", "reduce_scatter", "all_gather", "gather", "scatter", "all_to_all"]
)
def test_what_spans_nodes_is_chosen_where_there_are_several(collective: str, layout: str) -> None:
    nodes = parse_layout(layout, 8)
    made = plan(collective, ranks=8, count=1 << 12, root=7, model=default_model(nodes))
    assert made.algorithm == "hierarchical"
    assert made.requests[0].nodes == nodes
    assert made.failure is None


def test_uneven_nodes_are_priced_as_they_are() -> None:
    """Between nodes a message takes 16 s, inside 1 s, and twice as long where cores are shared."""
    far, near = Link(alpha=16), Link(alpha=1)

    def seconds(layout: str, cores: int = 0) -> float:
        nodes = parse_layout(layout, 3)
        model = CostModel(intra_node=near, inter_node=far, nodes=nodes, cores_per_node=cores)
        chain = plan("broadcast", ranks=3, count=1, algorithm="chain", memory="none", model=model)
        return chain.price.seconds

    assert [seconds(layout) for layout in ("1x3", "1+2", "2+1", "3x1")] == [2, 17, 17, 32]
    assert [seconds(layout, cores=1) for layout in ("1x3", "1+2", "2+1", "3x1")] == [6, 34, 34, 32]


def test_a_model_of_other_ranks_is_refused() -> None:
    model = default_model([0, 0, 1])
    with pytest.raises(ValueError, match=r"'model' is .*its nodes must be those of 4 ranks"):
        plan("barrier", ranks=4, model=model)
    with pytest.raises(ValueError, match="has 3 ranks on its nodes, the call 2"):
        _core.price(plan("barrier", ranks=2).schedules, 1, model)


def test_ranks_of_a_core_take_turns() -> None:
    """What one rank does alone takes no longer; what all do takes as long as in a row."""

    def seconds(collective: str, cores: int) -> float:
        model = CostModel(copy=1.0, cores_per_node=cores)
        return plan(
            collective, ranks=4, count=1, dtype="uint8", algorithm="one_shot", model=model
        ).price.seconds

    # The root puts; then all take, the root from its own input.
    assert [seconds("broadcast", cores) for cores in (0, 4, 2, 1)] == [2, 2, 3, 5]


def test_waiting_among_crowded_ranks_costs_more() -> None:
    def seconds(cores: int) -> float:
        model = CostModel(signal=1.0, wake=10.0, cores_per_node=cores)
        return plan("barrier", ranks=8, algorithm="one_shot", model=model).price.seconds

    assert [seconds(cores) for cores in (0, 8, 4, 2)] == [1, 1, 22, 44]


def test_times_of_direct_calls_are_those_on_such_arrays() -> None:
    one = Measured(2, [], 0, "broadcast", "float32", 1 << 18, "plain", "direct", 0, 3e-6)
    tuning = Tuning(measured=[one, replace(one, memory="registered", seconds=2e-6)])
    for memory, seconds in (("plain", 3e-6), ("registered", 2e-6)):
        made = plan("broadcast", ranks=2, count=1 << 18, memory=memory)
        found = {candidate.algorithm: candidate.measured for candidate in candidates(made, tuning)}
        assert found["direct"] == seconds


def test_measured_times_stand_beside_the_predicted() -> None:
    made = plan("all_reduce", ranks=2, count=16, model=default_model(cores_per_node=2))
    one = Measured(2, [], 2, "all_reduce", "float32", 16, "plain", "one_shot", 0, 3e-6)
    others = [
        replace(one, ranks=4), replace(one, count=32), replace(one, cores_per_node=4),
        replace(one, collective="reduce"), replace(one, dtype="int8"),
        replace(one, nodes=[0, 1]),
    ]  # fmt: skip
    tuning = Tuning(measured=[replace(other, seconds=1.0) for other in others] + [one])
    found = {candidate.algorithm: candidate.measured for candidate in candidates(made, tuning)}
    assert found.pop("one_shot") == 3e-6
    assert set(found.values()) == {None}


def test_steps_can_be_read_and_compared() -> None:
    made = plan("reduce", ranks=2, count=10, root=1, algorithm="binomial", chunk_bytes=1 << 20)
    sender, receiver = made.schedules
    [send] = sender.steps
    assert (send.kind, send.peer, send.dst) == ("send", 1, None)
    assert [(src.buffer, src.offset, src.count) for src in send.srcs] == [("input", 0, 10)]
    [fold] = receiver.steps
    assert (fold.kind, fold.peer, fold.finish, fold.after) == ("recv_reduce", 0, True, [])
    assert fold.dst is not None
    assert repr(fold.dst) == "output[0:10)"
    assert send != fold
    assert send != "send"
    assert sender == made.schedules[0]
    assert sender != receiver
    assert str(receiver).startswith("reduce, rank 1 of 2: input 10, output 10")
    assert repr(receiver) == "<Schedule of reduce, rank 1 of 2, 1 steps>"


def test_tables_list_the_steps_of_one_rank_or_all() -> None:
    made = plan("all_reduce", ranks=3, count=30, algorithm="ring")
    table = made.table(rank=1)
    assert len(table.splitlines()) == 2 + len(made.schedules[1].steps)
    assert "recv_reduce from 0" in table
    assert "last fold" in table
    assert made.table() == "\n".join(made.table(rank) for rank in range(3))
    assert "nothing to do" in plan("all_reduce", ranks=3).table(0)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"collective": "allreduce"}, "'collective' is 'allreduce'; it must be all_reduce, "),
        ({"ranks": 0}, "'ranks' is 0"),
        ({"count": -1}, "'count' is -1"),
        ({"count": 1 << 62}, "'count' is"),
        ({"dtype": "float31"}, "'dtype' is 'float31'; it must be bool, "),
        ({"root": 4}, "'root' is 4; it must be from 0 to 3"),
        ({"root": -1}, "'root' is -1"),
        ({"chunk_bytes": 0}, "'chunk_bytes' is 0"),
        (
            {"memory": "shared"},
            "'memory' is 'shared'; it must be none, hidden, plain or registered",
        ),
        ({"algorithm": "star"}, "all_reduce has no algorithm 'star'; there are: "),
        ({"collective": "all_to_all", "in_place": True}, "all_to_all cannot run in place"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], part: str) -> None:
    good: dict[str, object] = {"collective": "all_reduce", "ranks": 4, "count": 100}
    with pytest.raises(ValueError, match=re.escape(part)):
        plan(**(good | arguments))  # type: ignore[arg-type]


def test_a_rank_that_does_not_exist_has_no_table() -> None:
    with pytest.raises(ValueError, match="'rank' is 4"):
        plan("barrier", ranks=4).table(4)


def test_broken_schedules_are_reported() -> None:
    ring = plan("all_reduce", ranks=3, count=9, algorithm="ring")
    other = plan("all_reduce", ranks=3, count=9, algorithm="recursive_doubling")
    mixed = [*ring.schedules[:2], other.schedules[2]]
    failure = _core.verify(ring.requests, mixed)
    assert failure is not None
    assert "rank" in failure
    with pytest.raises(ValueError, match="rank"):
        _core.price(mixed, 4, MODEL)
