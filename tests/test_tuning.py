"""Tuning: what is measured, kept, and agreed on."""

from __future__ import annotations

import json
import os
import re
import stat
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launching import Mpirun
from mpi4py import MPI

from pycoll import _core
from pycoll.cost import COSTS, Costs, costs_from, default_model
from pycoll.topology import find_topology, usable_cores
from pycoll.tuning import file
from pycoll.tuning.agreement import agree
from pycoll.tuning.file import Measured, MeasuredCosts, Tuning
from pycoll.tuning.fit import line_through, misleading
from pycoll.tuning.grid import Grid, Point
from pycoll.tuning.situation import Situation
from pycoll.tuning.wishes import wishes_in

ONE = Measured(2, [], 2, "all_reduce", "float32", 16, "plain", "ring", 0, 3e-6)
#: A communicator of one rank.
ALONE = Situation(1, [], len(usable_cores()))


def costs_of(ranks: int, nodes: list[int] | None = None, **costs: float) -> MeasuredCosts:
    """What was measured on nodes of 2 cores."""
    return MeasuredCosts(ranks, nodes or [], 2, costs)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in use, which is not there yet."""
    found = tmp_path / "deep" / "tuning.json"
    monkeypatch.setenv("PYCOLL_TUNING", str(found))
    return found


def test_costs_that_are_not_given_are_as_without_measurement() -> None:
    model = costs_from({"inter_alpha": 1e-3, "wake": 0}).model([0, 0, 0, 1], cores_per_node=2)
    assert (model.inter_node.alpha, model.wake) == (1e-3, 0)
    assert (model.gamma, model.signal) == (Costs.gamma, Costs.signal)
    assert model.cached == _core.most_cached()
    assert (model.nodes, model.cores_per_node) == ([0, 0, 0, 1], 2)
    assert repr(Costs().model([0, 1], 2)) == repr(default_model([0, 1], 2))


@pytest.mark.parametrize(
    ("costs", "part"),
    [
        ({"delta": 1.0}, "no cost named 'delta'"),
        ({"gamma": -1.0}, "cost 'gamma' is -1.0"),
        ({"gamma": float("nan")}, "cost 'gamma' is nan"),
        ({"gamma": "1"}, "cost 'gamma' is '1'"),
        ({"gamma": True}, "cost 'gamma' is True"),
        ([], "no mapping"),
    ],
)
def test_costs_that_make_no_sense_are_named(costs: object, part: str) -> None:
    with pytest.raises(ValueError, match=re.escape(part)):
        costs_from(costs)


def test_what_is_kept_is_found_again(path: Path) -> None:
    tuning = Tuning({"cores": 2}, [costs_of(2, gamma=1e-10, signal=5e-7)], [ONE])
    file.write(path, tuning)
    assert file.load() == tuning
    assert file.load_costs(ALONE) == Costs(gamma=1e-10, signal=5e-7)
    # Written beside and moved: nothing else is left there.
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write(path, Tuning(costs=[costs_of(2, gamma=1e-10)]))

    def refuse(source: str, target: Path) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no"):
        file.write(path, Tuning(costs=[costs_of(2, gamma=2e-10)]))
    assert file.load_costs(ALONE).gamma == 1e-10
    assert list(path.parent.iterdir()) == [path]


def test_newer_measurements_replace_those_of_the_same_kind_only() -> None:
    several = costs_of(2, [0, 1], gamma=2.0)
    known = Tuning(
        {"date": "then"},
        [costs_of(2, gamma=1.0, wake=1.0), costs_of(4, gamma=1.0), several],
        [ONE, replace(ONE, ranks=4)],
    )
    newer = Tuning({"date": "now"}, [costs_of(2, gamma=3.0)], [replace(ONE, seconds=1.0)])
    assert known.updated(newer) == Tuning(
        {"date": "now"},
        [costs_of(4, gamma=1.0), several, costs_of(2, gamma=3.0)],
        [replace(ONE, ranks=4), replace(ONE, seconds=1.0)],
    )
    # Nothing was measured again: all is kept.
    kept = known.updated(Tuning())
    assert (kept.costs, kept.measured) == (known.costs, known.measured)


@pytest.mark.parametrize(
    ("ranks", "nodes", "cores", "crowding"),
    [
        (1, [], 2, 1), (2, [], 2, 1), (8, [], 2, 4), (8, [], 0, 1), (3, [], 2, 1.5),
        (8, [0, 0, 0, 0, 0, 1, 1, 1], 2, 2.5), (2, [0, 1], 2, 1), (0, [], 0, 1),
    ],
)  # fmt: skip
def test_ranks_that_share_cores_take_turns(
    ranks: int, nodes: list[int], cores: int, crowding: float
) -> None:
    assert Situation(ranks, nodes, cores).crowding == crowding


def test_situations_that_cannot_be() -> None:
    for ranks, nodes, cores in ((-1, [], 2), (2, None, 2), (2, [0], 2), ("2", [], 2), (2, [], 2.0)):
        with pytest.raises(ValueError, match=f"there are no {ranks!r} ranks"):
            Situation(ranks, nodes, cores)  # type: ignore[arg-type]


def test_costs_are_those_measured_where_cores_were_as_crowded() -> None:
    tuning = Tuning(
        costs=[
            costs_of(8, intra_alpha=8.0, wake=8.0, fetch=8.0),
            costs_of(2, intra_alpha=2.0, signal=2.0),
            costs_of(4, [0, 0, 1, 1], intra_alpha=4.0, inter_alpha=4.0),
        ]
    )
    without = Costs()

    def found(ranks: int, cores: int, nodes: list[int] | None = None) -> tuple[float, ...]:
        costs = tuning.costs_for(Situation(ranks, nodes or [], cores))
        return costs.intra_alpha, costs.wake, costs.signal, costs.inter_alpha, costs.fetch

    assert found(8, 2) == (8, 8, 2, 4, 8)
    assert found(16, 4) == found(4, 2) == found(8, 2)
    # What crowded ranks were measured at says nothing about those that have a core each.
    assert found(2, 2) == (2, without.wake, 2, 4, 8)
    assert found(4, 4) == found(2, 2)
    assert found(4, 2, [0, 0, 1, 1]) == (4, without.wake, 2, 4, 8)
    # Nor about far more of them.
    assert found(32, 2)[:2] == (without.intra_alpha, without.wake)
    assert Tuning().costs_for(ALONE) == without


def test_costs_in_place_of_which_others_are_assumed_are_not_used() -> None:
    crowded = replace(costs_of(8, signal=8.0, gamma=8.0), assumed=["signal"])
    tuning = Tuning(costs=[crowded, costs_of(2, signal=2.0)])
    costs = tuning.costs_for(Situation(8, [], 2))
    assert (costs.signal, costs.gamma) == (Costs().signal, 8)
    assert tuning.costs_for(Situation(2, [], 2)).signal == 2


def test_a_message_inside_a_node_is_a_copy_at_least() -> None:
    fast = Costs(intra_beta=1e-11, fetch=1e-10, copy=2e-11)
    assert fast.model().intra_node.beta == fast.copy
    assert Costs().model().intra_node.beta == Costs().intra_beta - 2 * Costs().fetch


def test_costs_that_mislead_are_named() -> None:
    measured, assumed = {"gamma": 1.0, "copy": 1.0, "wake": 1.0}, dict.fromkeys(COSTS, 2.0)

    def found(slowness: Callable[[dict[str, float]], float]) -> list[str]:
        return misleading(measured, assumed, slowness)

    # Copy misleads, gamma is better as measured, and wake makes no difference.
    assert found(lambda it: 1 + 0.2 * (it["copy"] == 1) + 0.1 * (it["gamma"] == 2)) == ["copy"]
    assert found(lambda it: 1.0) == []
    assert found(lambda it: 9 - sum(it.values())) == list(measured)
    # What differs by less than times do from run to run stays as measured.
    assert found(lambda it: 1 + 0.003 * (it["wake"] == 1)) == []
    # That gamma misleads shows only beside the assumed wake.
    assert found(
        lambda it: 1 + 0.2 * (it["wake"] == 1) + 0.2 * (it["gamma"] == 1 and it["wake"] == 2)
    ) == ["gamma", "wake"]


def test_messages_that_seem_cheaper_than_they_are_do_not_mislead_auto() -> None:
    situation = Situation(4, [], 2)
    request = _core.Request("all_gather", rank=0, size=4, count=1 << 17)
    point = Point("all_gather", 2 << 20, 1 << 17, request)
    one = Measured(4, [], 2, "all_gather", "float32", 1 << 17, "registered", "direct", 0, 1e-4)
    names = [name for name, _, _ in _core.candidates(request, 4, default_model(), "mapped")]
    calls = [one] + [replace(one, algorithm=name, seconds=1e-3) for name in names]
    grid = Grid(situation, {"registered": "mapped"}, [(point, calls)])
    costs = {"intra_alpha": 1e-9, "intra_beta": 1e-13, "copy": 1e-13, "fetch": 1e-9, "cached": 1.0}
    assert [verdict.ratio for verdict in grid.judge(costs)] == [10]
    used = {name: cost for name, cost in costs.items() if name not in grid.misleading_costs(costs)}
    assert [verdict.ratio for verdict in grid.judge(used)] == [1]
    assert used["cached"] == 1


def good() -> dict[str, object]:
    return {"format": file.FORMAT, "family": file.family(), "costs": [], "measured": []}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "Expecting property name"),
        ("[]", "format is not"),
        (json.dumps({"colour": "green"}), "format is not"),
        (json.dumps(good() | {"format": "pycoll tuning 0"}), "format is not"),
        (json.dumps(good() | {"family": "telepathy"}), "measured under telepathy"),
        (json.dumps(good() | {"costs": None}), "measurements are incomplete"),
        (json.dumps(good() | {"costs": [asdict(costs_of(2)) | {"costs": 7}]}), "no mapping"),
        (json.dumps(good() | {"costs": [asdict(costs_of(2, gamma=-1))]}), "no finite number"),
        (json.dumps(good() | {"costs": [asdict(costs_of(2)) | {"nodes": None}]}), "no 2 ranks"),
        (json.dumps(good() | {"costs": [asdict(costs_of(2)) | {"ranks": "2"}]}), "no '2' ranks"),
        (json.dumps(good() | {"costs": [asdict(costs_of(2)) | {"assumed": ["x"]}]}), "named 'x'"),
        (json.dumps(good() | {"measured": [{"ranks": 2}]}), "measurements are incomplete"),
        (json.dumps(good() | {"measured": 7}), "measurements are incomplete"),
        ("\xff", "codec"),
    ],
)
def test_files_of_no_use_are_named_and_passed_over(path: Path, content: str, why: str) -> None:
    path.parent.mkdir()
    path.write_text(content, encoding="latin-1")
    with pytest.warns(UserWarning, match=re.escape(str(path))) as caught:
        assert file.load_costs(ALONE) == Costs()
    assert why in str(caught[0].message)


def test_a_file_that_is_asked_for_must_be_there(path: Path) -> None:
    with pytest.warns(UserWarning, match=f"{path} is not used: No such file"):
        assert file.load() is None


def test_without_a_file_or_switched_off_there_is_nothing_to_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.delenv("PYCOLL_TUNING", raising=False)
        usual = file.path_in_use()
        assert usual is not None
        assert usual.parent == tmp_path / "pycoll"
        assert usual.name.endswith(f"-{file.family()}.json")
        assert file.load() is None
        monkeypatch.setenv("PYCOLL_TUNING", "off")
        assert file.path_in_use() is None
        assert file.load() is None


@given(
    st.floats(1e-7, 1e-3),
    st.floats(1e-12, 1e-8),
    st.lists(st.floats(0.95, 1.05), min_size=6, max_size=6),
)
def test_lines_are_found_again(start: float, slope: float, noise: list[float]) -> None:
    sizes = [8, 1 << 10, 8 << 10, 64 << 10, 256 << 10, 1 << 20]
    seconds = [(start + slope * size) * each for size, each in zip(sizes, noise, strict=True)]
    found = line_through(sizes, seconds)
    assert min(found) >= 0
    for size in sizes:
        assert found[0] + found[1] * size == pytest.approx(start + slope * size, rel=0.16)


def test_lines_never_fall_below_nothing() -> None:
    assert line_through([1, 2, 4], [4.0, 2.0, 1.0])[1] == 0
    assert line_through([1, 2, 4], [1.0, 4.0, 16.0])[0] == 0


def test_wishes_name_algorithms_for_collectives() -> None:
    ring = wishes_in("ring")
    assert ring == {
        algorithm.collective: "ring" for algorithm in _core.algorithms() if algorithm.name == "ring"
    }
    assert wishes_in("all_reduce:ring, broadcast:binomial") == {
        "all_reduce": "ring",
        "broadcast": "binomial",
    }
    assert wishes_in("ring,all_reduce:direct") == ring | {"all_reduce": "direct"}
    assert wishes_in("ring,all_reduce:auto")["all_gather"] == "ring"
    assert "all_reduce" not in wishes_in("ring,all_reduce:auto")
    assert wishes_in("") == wishes_in("auto") == {}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("star", "PYCOLL_ALGORITHM is 'star', and there is no algorithm 'star'; there are: "),
        ("all_reduce:star", "no algorithm 'star' for all_reduce; there are: ring, "),
        ("barrier:ring", "no algorithm 'ring' for barrier; there are: "),
        ("allreduce:ring", "there is no collective 'allreduce'; write one of all_reduce, "),
        (":ring", "there is no collective ''"),
    ],
)
def test_wishes_that_cannot_come_true_are_named(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=re.escape(part)):
        wishes_in(text)


def test_wishes_are_passed_over_where_they_cannot_serve() -> None:
    def chosen(count: int, wish: str, reach: str) -> str:
        request = _core.Request("all_reduce", rank=0, size=4, count=count)
        return _core.choose(request, 4, default_model(), reach=reach, wish=wish)[0]

    assert chosen(1, "ring", "mapped") == "ring"
    assert chosen(1, "direct", "mapped") == "direct"
    assert chosen(1, "direct", "arrays") == "direct"
    assert chosen(1, "direct", "stages") == "staged"
    assert chosen(1, "one_shot", "messages") == "recursive_doubling"
    assert chosen(1 << 20, "one_shot", "stages") == "staged_ring"
    # An algorithm that a call names is not a wish.
    request = _core.Request("all_reduce", rank=0, size=4, count=1)
    assert _core.choose(request, 4, default_model(), "binomial", wish="ring")[0] == "binomial"


def test_agreement_is_what_the_file_and_the_environment_say(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowded = MeasuredCosts(9 * len(usable_cores()), [], len(usable_cores()), {"gamma": 1.0})
    file.write(path, Tuning(costs=[costs_of(1, gamma=1e-9), crowded]))
    monkeypatch.setenv("PYCOLL_ALGORITHM", "all_reduce:ring")
    topology = find_topology(MPI.COMM_SELF, MPI.COMM_SELF)
    found = agree(MPI.COMM_SELF, topology)
    assert found.costs == Costs(gamma=1e-9)
    assert found.wishes == {"all_reduce": "ring"}
    monkeypatch.setenv("PYCOLL_ALGORITHM", "star")
    with pytest.raises(ValueError, match="PYCOLL_ALGORITHM is 'star'"):
        agree(MPI.COMM_SELF, topology)


def test_kernels_do_what_they_are_measured_for() -> None:
    import numpy as np

    left, right, out = np.arange(5.0), np.full(5, 2.0), np.zeros(5)
    _core.fold(out, left, right, "prod")
    assert out.tolist() == [0, 2, 4, 6, 8]
    _core.copy(out, left)
    assert out.tolist() == left.tolist()
    _core.copy(out, right, past_caches=True)
    assert out.tolist() == right.tolist()
    with pytest.raises(ValueError, match="differ in length or dtype"):
        _core.fold(out, left, right[:4])
    with pytest.raises(ValueError, match="differ in length or dtype"):
        _core.copy(out, np.zeros(5, np.float32))
    with pytest.raises(ValueError, match="'op' is 'band'"):
        _core.fold(out, left, right, "band")
    out.flags.writeable = False
    with pytest.raises(ValueError, match="'out' is read-only"):
        _core.copy(out, left)


@pytest.mark.parametrize(
    ("ranks", "nodes", "found"),
    [
        (1, "", {"gamma", "copy", "cached"}),
        (3, "2+1", set(COSTS) - {"signal", "wake", "cma_alpha", "cma_beta"}),
        (2 * len(usable_cores()) + 1, "", {"intra_alpha", "intra_beta", "wake", "cached"}),
    ],
)
def test_tune_measures_what_there_is_to_measure(
    mpirun: Mpirun, tmp_path: Path, ranks: int, nodes: str, found: set[str]
) -> None:
    path = tmp_path / "tuning.json"
    env = {"PYCOLL_TUNING": str(path)} | ({"PYCOLL_NODES": nodes} if nodes else {})
    done = mpirun(ranks, "-m", "pycoll", "tune", "--quick", env=env)
    assert done.returncode == 0, done.stderr
    tuning = file.read(path)
    [measured] = tuning.costs
    assert (measured.ranks, len(measured.nodes)) == (ranks, ranks if nodes else 0)
    assert found <= set(measured.costs)
    assert measured.costs.pop("cached") in [2.0**power for power in range(24, 30)]
    assert all(0 <= seconds < 1 for seconds in measured.costs.values())
    assert tuning.measured == []
    assert f"Kept in {path}" in done.stdout
    assert ("mpirun -n N python -m pycoll tune" in done.stdout) == (ranks == 1)
    assert "Traceback" not in done.stderr


def test_tune_measures_collectives_and_says_how_well_auto_chooses(
    mpirun: Mpirun, tmp_path: Path
) -> None:
    path = tmp_path / "tuning.json"
    done = mpirun(2, "-m", "pycoll", "tune", env={"PYCOLL_TUNING": str(path)})
    assert done.returncode == 0, done.stderr
    assert "message inside a node" in done.stdout
    assert "times as long as the best of all algorithms" in done.stdout
    tuning = file.read(path)
    [measured_costs] = tuning.costs
    assert set(measured_costs.assumed) <= set(measured_costs.costs)
    assert done.stdout.count("  *\n") == len(measured_costs.assumed)
    measured = tuning.measured
    assert {one.ranks for one in measured} == {2}
    assert {"ring", "one_shot", "staged", "direct"} <= {one.algorithm for one in measured}
    direct = [one for one in measured if one.algorithm == "direct"]
    assert "registered" in {one.memory for one in direct}
    assert {one.memory for one in measured if one not in direct} == {"plain"}
    if len(usable_cores()) > 1:  # the kernel may not be allowed to copy between ranks
        has_cma = "cma_beta" in measured_costs.costs
        assert ("plain" in {one.memory for one in direct}) == has_cma


def test_tune_says_that_it_cannot_write(mpirun: Mpirun, tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("not a folder")
    assert stat.S_ISREG((tmp_path / "folder").stat().st_mode)
    path = tmp_path / "folder" / "tuning.json"
    done = mpirun(1, "-m", "pycoll", "tune", env={"PYCOLL_TUNING": str(path)})
    assert done.returncode == 1
    assert f"cannot write {path}: " in done.stderr
