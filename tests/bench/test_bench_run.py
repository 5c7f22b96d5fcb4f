"""The benchmark as people start it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from launching import Mpirun

from pycoll import _core
from pycoll.bench.options import COLLECTIVES

FAST = ("-n", "1", "-w", "1", "--rounds", "2", "--seconds", "0.01", "--quiet")


def bench(mpirun: Mpirun, ranks: int, *arguments: str, env: dict[str, str] | None = None) -> str:
    done = mpirun(ranks, "-m", "pycoll.bench", *arguments, *FAST, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_columns_are_those_of_nccl_tests(mpirun: Mpirun) -> None:
    lines = bench(mpirun, 2, "all_reduce", "-b", "8", "-e", "2K", "-f", "16").splitlines()
    names = next(line for line in lines if "busbw" in line).split()
    group = ["time", "algbw", "busbw", "#wrong"]
    assert names == ["#", "size", "count", "type", "redop", "root", *group, *group, "algorithm"]
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert [row[:5] for row in rows] == [
        ["8", "2", "float32", "sum", "-1"],
        ["128", "32", "float32", "sum", "-1"],
        ["2048", "512", "float32", "sum", "-1"],
    ]
    assert all(row[8] == row[12] == "0" for row in rows)
    assert all(row[-2:] == ["(auto,", "registered)"] for row in rows)
    assert "# Wrong values: 0 OK" in lines


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_every_collective_is_right_with_every_algorithm(
    mpirun: Mpirun, tmp_path: Path, collective: str
) -> None:
    """Also against the MPI library, in both placements, with a root that is not 0."""
    arguments = [collective, "-b", "100", "-e", "20K", "-f", "150", "--against", "mpi"]
    has_choice = collective not in ("barrier", "send_recv")
    if has_choice:
        arguments += ["--algorithm", "all", "--memory", "both"]
    if has_choice and collective not in ("broadcast", "all_to_all"):
        arguments += ["--in-place", "--out-of-place"]
    if collective in ("reduce", "broadcast", "gather", "scatter"):
        arguments += ["-r", "1"]
    results = tmp_path / "results.json"
    bench(mpirun, 3, *arguments, "--json", str(results), env={"PYCOLL_CMA": "0"})
    report: dict[str, Any] = json.loads(results.read_text())
    assert report["environment"]["ranks"] == 3
    assert "pycoll.bench" in report["environment"]["command"]
    known = [
        entry.name
        for entry in _core.algorithms()
        if entry.collective == collective and not entry.spans_nodes
    ]
    assert {record["algorithm"] for record in report["results"]} == set(
        known if has_choice else [None]
    )
    for record in report["results"]:
        assert (record["wrong"], record["mpi"]["wrong"]) == (0, 0), record
        assert len(record["times"]) == len(record["mpi"]["times"]) == 2
        assert record["time"] > 0
        assert record["ratio"]["median"] > 0
    memories = {record["memory"] for record in report["results"] if record["algorithm"] == "direct"}
    assert memories <= {"registered"}, "plain arrays cannot be reached directly"
    if has_choice:
        assert any(record["auto"] for record in report["results"])


def test_registered_arrays_are_marked(mpirun: Mpirun) -> None:
    """Plain ones, of which the kernel copies nothing, cannot be reached directly."""
    arguments = ("all_reduce", "-b", "4M", "-e", "4M", "--in-place", "--memory", "both")
    lines = bench(mpirun, 2, *arguments, env={"PYCOLL_CMA": "0"}).splitlines()
    plain, registered = (line.split(None, 9)[-1] for line in lines if line[0] != "#")
    assert plain.startswith("staged_ring/")
    assert plain.endswith("(auto)")
    assert registered.startswith("direct/")
    assert registered.endswith("(auto, registered)")


def test_all_types_and_ops(mpirun: Mpirun, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    bench(
        mpirun,
        2,
        *("all_reduce", "-b", "5000", "-e", "5000", "-d", "all", "-o", "all", "--in-place"),
        *("--against", "mpi", "--json", str(results)),
    )
    records = json.loads(results.read_text())["results"]
    assert len({(record["type"], record["redop"]) for record in records}) == len(records) > 60
    assert all(record["wrong"] == 0 for record in records)
    # MPI has no half precision and no mean.
    without = {record["type"] for record in records if record["mpi"] is None}
    assert {"float16", "bfloat16"} <= without
    assert all(
        record["mpi"]
        for record in records
        if record["redop"] == "max" and "f" not in record["type"]
    )


CORRUPTED = """
import sys
from pycoll.bench import __main__ as program, measurement
from pycoll.bench.contestants import Call

honest = measurement.pycoll_call

def corrupted(comm, *arguments):
    call = honest(comm, *arguments)
    def run():
        call.run()
        if comm.rank == 1:
            call.result[2:4] += 1
    return Call(run, call.result)

measurement.pycoll_call = corrupted
sys.exit(program.main(sys.argv[1:]))
"""


def test_wrong_elements_are_counted_over_all_ranks_and_fail_the_run(mpirun: Mpirun) -> None:
    arguments = ("all_reduce", "-b", "64", "-e", "64", "--in-place", *FAST)
    done = mpirun(2, "-c", CORRUPTED, *arguments)
    assert done.returncode == 1
    rows = [line.split() for line in done.stdout.splitlines() if not line.startswith("#")]
    assert [row[8] for row in rows] == ["2"]
    assert "# Wrong values: 2 FAILED" in done.stdout


def test_plot_is_drawn(mpirun: Mpirun, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "picture.svg"
    bench(
        mpirun,
        2,
        *("all_gather", "-b", "8", "-e", "8K", "-f", "8", "--algorithm", "all"),
        *("--against", "mpi", "--plot", str(picture)),
    )
    assert "</svg>" in picture.read_text()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["all_reduce", "-o", "mean"], "pycoll.bench: unknown op 'mean'"),
        (["all_reduce", "--json", "/no/such/folder/x.json"], "pycoll.bench: --json: cannot write"),
        (["all_reduce", "--plot", "picture.txt"], "pycoll.bench: --plot: picture.txt must end in"),
    ],
)
def test_wrong_options_end_all_ranks_with_one_line(
    mpirun: Mpirun, arguments: list[str], text: str
) -> None:
    done = mpirun(2, "-m", "pycoll.bench", *arguments)
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "pycoll.bench:" in line] == [
        line for line in done.stderr.splitlines() if line.startswith(text)
    ]
    assert done.stderr.count("pycoll.bench:") == 1
    assert "Traceback" not in done.stderr


def test_help_is_printed_once(mpirun: Mpirun) -> None:
    done = mpirun(2, "-m", "pycoll.bench", "-h")
    assert done.returncode == 0
    assert done.stdout.count("--stepfactor") == 1
