"""The command line: what it prints, and how it fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pycoll import _core
from pycoll.__main__ import main
from pycoll._core import _loading
from pycoll.inspection import inspect_installation
from pycoll.tuning.file import Measured, MeasuredCosts, Tuning, write


@pytest.fixture(autouse=True)
def _nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans go by the default costs, whatever this machine was found to be."""
    monkeypatch.setenv("PYCOLL_TUNING", "off")


def output_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which a command that makes no sense leaves."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_plan_says_what_a_call_does_and_costs(capsys: pytest.CaptureFixture[str]) -> None:
    text = output_of(
        capsys, "plan", "all_reduce", "--algorithm", "ring", "--ranks", "8", "--bytes", "1M"
    )
    assert "all_reduce over 8 rank(s), 1 MiB of float32 (262144 elements)" in text
    assert "proven for all interleavings" in text
    assert "2(p-1) alpha" in text
    assert "Patarasuk and Yuan 2009" in text
    assert "busbw" in text
    assert "1.75 MiB sent" in text
    assert "alpha 2.5 µs per message" in text
    assert "rank 0 of 8" in text
    assert "rank 1 of 8" not in text
    assert "--rank R shows those of another one" in text


def test_plan_prints_all_ranks_when_they_are_short(capsys: pytest.CaptureFixture[str]) -> None:
    text = output_of(capsys, "plan", "barrier", "--ranks", "4", "--memory", "none")
    assert [f"rank {rank} of 4" in text for rank in range(4)] == [True] * 4


def test_plan_prints_the_rank_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    text = output_of(capsys, "plan", "reduce", "--ranks", "4", "--rank", "2", "--root", "3")
    assert "rank 2 of 4" in text
    assert "rank 0 of 4" not in text


def test_why_lists_all_candidates_and_marks_one(capsys: pytest.CaptureFixture[str]) -> None:
    text = output_of(capsys, "plan", "all_reduce", "--why", "--bytes", "1K", "--rank", "0")
    names = [
        found.name
        for found in _core.algorithms()
        if found.collective == "all_reduce" and found.reach != "arrays" and not found.spans_nodes
    ]
    lines = text.splitlines()
    [chosen] = [line for line in lines if line.startswith(" -> ")]
    assert chosen.split()[1] in names
    others = [line for line in lines if line.startswith("    ") and line.split()[0] in names]
    assert len(others) == len(names) - 1
    assert f"algorithm   {chosen.split()[1]} (chosen by auto)" in text


def test_why_prints_measured_times_where_there_are_some(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "tuning.json"
    one = Measured(4, [], 2, "all_reduce", "float32", 1024, "plain", "ring", 0, 4.5e-6)
    costs = MeasuredCosts(4, [], 2, {"gamma": 1 / 8e9})
    crowded = MeasuredCosts(8, [], 2, {"gamma": 1 / 4e9})
    write(path, Tuning({"cores": 2, "date": "today"}, [crowded, costs], [one]))
    monkeypatch.setenv("PYCOLL_TUNING", str(path))
    arguments = ["plan", "all_reduce", "--ranks", "4", "--bytes", "4K", "--why", "--rank", "0"]
    text = output_of(capsys, *arguments)
    assert "8 GB/s folded" in text
    assert "2 core(s) per node" in text
    [ring] = [line for line in text.splitlines() if line.startswith("    ring ")]
    assert ring.endswith("4.5 µs")
    assert "measured today" in text
    assert "4 GB/s folded" in output_of(capsys, *arguments, "--ranks", "8")
    # Other ranks, other cores: nothing was measured there.
    for other in (["--ranks", "8"], ["--cores-per-node", "4"]):
        assert "measured  " not in output_of(capsys, *arguments, *other)
    read = json.loads(output_of(capsys, *arguments, "--json"))
    assert {found["algorithm"]: found["measured"] for found in read["candidates"]}["ring"] == 4.5e-6


def test_plans_of_registered_arrays_name_whose_memory_is_touched(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["plan", "all_reduce", "--ranks", "2", "--bytes", "1M", "--memory", "registered"]
    text = output_of(capsys, *arguments, "--rank", "0")
    assert "algorithm   direct (chosen by auto)" in text
    assert "rank 1 input[0:" in text
    assert "after all have entered" in text
    assert "1 signal(s)" in text
    read = json.loads(output_of(capsys, *arguments, "--json", "--rank", "0"))
    assert (read["reach"], read["meets_first"]) == ("mapped", True)
    [schedule] = read["schedules"]
    kinds = [step["kind"] for step in schedule["steps"]]
    assert kinds[0] == "reduce"
    assert kinds[-2:] == ["signal", "wait"]
    owners = [src.get("owner") for src in schedule["steps"][0]["srcs"]]
    assert owners == [None, 1]


def test_blocks_share_the_size_evenly(capsys: pytest.CaptureFixture[str]) -> None:
    text = output_of(capsys, "plan", "all_gather", "--ranks", "3", "--bytes", "100")
    assert "96 B of float32 (8 elements in each rank's block)" in text


def test_plan_in_json_has_the_steps(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", "all_reduce", "--algorithm", "ring", "--ranks", "3", "--bytes", "36"]
    read = json.loads(output_of(capsys, *arguments, "--json", "--rank", "1"))
    assert read["failure"] is None
    assert read["count"] == 9
    assert read["messages"] == 4
    [schedule] = read["schedules"]
    assert schedule["rank"] == 1
    first = schedule["steps"][0]
    assert first["kind"] == "send"
    assert first["peer"] == 2
    assert first["srcs"] == [{"buffer": "input", "offset": 0, "count": 3}]
    assert first["start"] == 0.0


def test_plan_draws(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "ring.svg"
    text = output_of(
        capsys, "plan", "all_reduce", "--algorithm", "ring", "--ranks", "4", "--svg", str(file)
    )
    assert f"Drawn to {file}" in text
    assert file.read_text(encoding="utf-8").startswith("<svg ")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["all_reduce", "--bytes", "1MB"], "'1MB' is not a size"),
        (["all_reduce", "--bytes", "5"], "'bytes' is 5, no whole number of float32 elements"),
        (["all_reduce", "--chunk", "x"], "'x' is not a size"),
        (["all_reduce", "--ranks", "0"], "'ranks' is 0"),
        (["all_reduce", "--ranks", "-1"], "'ranks' is -1"),
        (["all_reduce", "--ranks", "many"], "invalid int value: 'many'"),
        (["all_reduce", "--algorithm", "star"], "no algorithm 'star'"),
        (["all_reduce", "--dtype", "complex64"], "'dtype' is 'complex64'"),
        (["all_reduce", "--rank", "8"], "'rank' is 8; it must be from 0 to 7"),
        (["reduce", "--root", "8"], "'root' is 8"),
        (["all_to_all", "--in-place"], "cannot run in place"),
        (["allreduce"], "invalid choice: 'allreduce'"),
        ([], "required: COLLECTIVE"),
        (["barrier", "--ranks", "100", "--svg", "no.svg"], "room for 32 ranks"),
        (["barrier", "--svg", "/nowhere/no.svg"], "/nowhere/no.svg"),
    ],
)
def test_plan_refuses_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], part: str
) -> None:
    assert part in error_of(capsys, "plan", *arguments)


def test_unknown_commands_are_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "invalid choice: 'paint'" in error_of(capsys, "paint")
    assert "required: COMMAND" in error_of(capsys)


def test_info_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = output_of(capsys, "info")
    for topic in ("pycoll", "Python", "MPI", "built against", "transports", "CPU", "cores"):
        assert any(line.startswith(topic) for line in text.splitlines()), topic
    assert "CUDA" in text
    assert re.search(r"CUDA +(kernels for sm_\d+|no kernels: built with)", text)
    assert re.search(r"GPUs +\S", text)
    assert re.search(r"^shared memory +on$", text, re.MULTILINE)
    assert "PYCOLL_TUNING is off" in text
    for name in (*_core.DTYPE_SIZES, *_core.REDUCE_OPS, *_core.COLLECTIVES):
        assert name in text
    for algorithm in _core.algorithms():
        assert algorithm.name in text
    assert "PROBLEM" not in text


def test_info_says_that_shared_memory_is_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYCOLL_SHARED_MEMORY", "0")
    assert "off: PYCOLL_SHARED_MEMORY is 0" in output_of(capsys, "info")


def test_info_in_json_has_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    read = json.loads(output_of(capsys, "info", "--json"))
    assert read == json.loads(json.dumps(inspect_installation()))
    assert read["ops"]["band"] == [
        dtype for dtype in _core.DTYPE_SIZES if _core.supports("band", dtype)
    ]


def test_info_says_why_the_core_cannot_be_loaded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pycoll

    monkeypatch.setitem(sys.modules, "pycoll._core", None)
    monkeypatch.delattr(pycoll, "_core")
    assert main(["info"]) == 1
    text = capsys.readouterr().out
    assert "PROBLEM: " in text
    assert "pycoll._core" in text
    assert "Python" in text


def test_info_says_that_the_instruction_set_is_wrong() -> None:
    done = run("info", env={"PYCOLL_ISA": "abacus"})
    assert done.returncode == 1
    assert "PROBLEM: " in done.stdout
    assert "abacus" in done.stdout


def test_the_module_runs() -> None:
    done = run("plan", "all_reduce", "--bytes", "wrong")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "python -m pycoll plan: 'wrong' is not a size; write bytes, or 64K, 1.5M or 1MiB "
        "(K is 1024)\n"
    )


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pycoll", *arguments],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_info_works_without_a_native_core(tmp_path: Path) -> None:
    """A copy of the package in which the core was not built."""
    package = Path(_loading.__file__).parent.parent
    shutil.copytree(package, tmp_path / "pycoll", ignore=shutil.ignore_patterns("*.so"))
    done = subprocess.run(
        [sys.executable, "-m", "pycoll", "info"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "PROBLEM: pycoll has no native core here" in done.stdout


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("plan all_reduce --bytes 64", 0, ""),
        ("tune --wrong", 2, "python -m pycoll: unrecognized arguments: --wrong"),
        ("pipeline", 2, "python -m pycoll pipeline: there is no package 'threadpoolctl': pip "),
    ],
)
def test_what_needs_no_trainer_works_without_its_packages(
    command: str, code: int, says: str
) -> None:
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['threadpoolctl', 'safetensors', 'tqdm', "
        "'matplotlib'])); from pycoll.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command.split()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr[: len(says)]) == (code, says), done.stderr
