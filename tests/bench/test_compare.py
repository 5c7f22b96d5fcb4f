"""The comparison with other libraries: its options, its runs, and a short one for real."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from compare_package import compare_modules
from launching import ENVIRONMENT, ROOT, find_mpirun

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")


@pytest.fixture(scope="module")
def compare() -> SimpleNamespace:
    """Return the modules of the package, which lies beside the library."""
    return compare_modules(
        "campaign", "contestants", "environments", "job", "launching", "options", "results"
    )


# --- Options


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--ranks", "2,two"], "--ranks: 'two' is not a whole number from 1"),
        (["--rounds", "0"], "--rounds: '0' is not a whole number from 1"),
        (["-f", "1"], "-f: '1' is not a whole number from 2"),
        (["-b", "64K", "-e", "1K"], "above the last"),
        (["-b", "many"], "'many' is not a size"),
        (["--seconds", "nan"], "--seconds is nan"),
        (["--collectives", "gather"], "unknown collective 'gather'; choose from all_reduce,"),
        (["--contestants", "pycoll,nccl"], "unknown contestant 'nccl'; choose from registered,"),
        (["--python", "gloo"], "'gloo' is not NAME=PATH"),
        (["--python", "gloo=/no/such/python"], "there is no interpreter /no/such/python"),
        (["--sizes", "8"], "unrecognized arguments: --sizes"),
    ],
)
def test_wrong_option_says_what_to_change(compare: Any, arguments: list[str], text: str) -> None:
    with pytest.raises(compare.options.OptionError) as raised:
        compare.options.parse_options(arguments)
    assert text in str(raised.value)


def test_options_by_default_and_given(compare: Any) -> None:
    options = compare.options.parse_options([])
    assert options.ranks == (2, 4, 8)
    assert options.sizes == tuple(8 << i for i in range(24))
    assert options.contestants == tuple(compare.contestants.CONTESTANTS)
    options = compare.options.parse_options(
        ["--collectives", "all", "--python", f"mpich={sys.executable}", "--again", "x/y.json"]
    )
    assert options.collectives[-1] == "barrier"
    assert options.pythons == {"mpich": Path(sys.executable)}
    assert options.out == Path("x")


# --- Environments and runs


def test_environment_that_cannot_be_made_is_named(compare: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    gloo = compare.contestants.CONTESTANTS["gloo"]
    with pytest.raises(
        compare.environments.EnvironmentMissingError, match=r"--python gloo=\.\.\./bin/python"
    ):
        compare.environments.interpreter_for(gloo, {}, tmp_path / "file")


def test_environment_that_was_made_is_used_again(compare: Any, tmp_path: Path) -> None:
    gloo = compare.contestants.CONTESTANTS["gloo"]
    (tmp_path / "gloo").mkdir()
    (tmp_path / "gloo" / "packages").write_text("\n".join(gloo.packages))
    found = compare.environments.interpreter_for(gloo, {}, tmp_path)
    assert found == tmp_path / "gloo" / "bin" / "python"
    given = compare.environments.interpreter_for(gloo, {"gloo": Path("mine")}, tmp_path)
    assert given == Path("mine")


def test_failed_run_says_why(compare: Any, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text(
        "#!/bin/sh\necho 'first this'; echo 'SomeError: it broke'; echo bye; exit 3\n"
    )
    broken.chmod(0o755)
    gloo = compare.contestants.CONTESTANTS["gloo"]
    outcome = compare.launching.run_ranks(gloo, broken, 2, "all_reduce", (2,), 0.01)
    assert outcome.report is None
    assert outcome.failure == "exit status 3: SomeError: it broke"


def test_run_that_hangs_is_ended(
    compare: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hanging = tmp_path / "python"
    hanging.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/started\nexec sleep 1000\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(compare.launching, "_limit", lambda job: 0.5)
    gloo = compare.contestants.CONTESTANTS["gloo"]
    outcome = compare.launching.run_ranks(gloo, hanging, 2, "all_reduce", (2,), 0.01)
    assert outcome.failure is not None
    assert outcome.failure.startswith("not done after 0.5 s")
    started = (tmp_path / "started").read_text().split()
    assert not [process for process in started if Path(f"/proc/{process}").exists()]


@pytest.fixture
def taking_turns(compare: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that makes a campaign of runs which report a given version."""

    def make(version: str, arguments: str) -> tuple[Any, list[tuple[str, tuple[int, ...]]]]:
        order = []

        def run(
            contestant: Any, _: Path, ranks: int, collective: str, counts: Any, seconds: float
        ) -> Any:
            order.append((contestant.name, counts))
            measured = tuple(compare.job.Measured(count, 0, (seconds,)) for count in counts)
            return compare.launching.Outcome(compare.job.Report(version, measured), None)

        monkeypatch.setattr(compare.campaign, "run_ranks", run)
        monkeypatch.setattr(compare.campaign, "copy_bandwidth", lambda: 1e9)
        options = compare.options.parse_options([*arguments.split(), "--out", str(tmp_path)])
        made = compare.results.Results("", "", "")
        interpreters = {name: Path("python") for name in options.contestants}
        compare.campaign.measure_all(made, options, interpreters, lambda _: None, lambda: None)
        return made, order

    return make


def test_contestants_take_turns(taking_turns: Any) -> None:
    arguments = "--contestants pycoll,mpich,impi --ranks 8 --rounds 3 -b 8 -e 8"
    _, order = taking_turns("", arguments)
    names = [name for name, _ in order]
    assert names == [
        "pycoll",
        "mpich",
        "impi",
        "mpich",
        "impi",
        "pycoll",
        "impi",
        "pycoll",
        "mpich",
    ]


def test_no_block_is_smaller_than_an_element(taking_turns: Any) -> None:
    arguments = "--contestants mpich --ranks 4 --rounds 1 -b 8 -e 64 --collectives all_gather"
    made, order = taking_turns("MPICH 5", arguments)
    assert order == [("mpich", (1, 2, 4))]
    assert made.sizes("all_gather", 4) == [16, 32, 64]


def test_figures_never_go_by_another_librarys_name(taking_turns: Any) -> None:
    made, _ = taking_turns("MPICH 5", "--contestants openmpi,mpich --ranks 2 -b 8 -e 8")
    assert list(made.versions) == ["mpich"]
    assert made.problems == ["Open MPI, all_reduce on 2 ranks: python has another library, MPICH 5"]


# --- For real


def test_short_comparison_with_the_mpi_of_this_environment(tmp_path: Path) -> None:
    """One command measures pycoll and the MPI beside it, and writes table, picture and data."""
    version = subprocess.run(
        [find_mpirun(), "--version"], capture_output=True, text=True, check=True
    ).stdout
    mpi = "openmpi" if "Open MPI" in version else "impi" if "Intel" in version else "mpich"
    arguments = (
        "-b 8 -e 4096 -f 512 --ranks 2 --rounds 1 --seconds 0.01 "
        f"--collectives all_reduce,barrier --contestants pycoll,{mpi}"
    )
    command = [sys.executable, "-m", "bench.compare", *arguments.split()]
    command += ["--python", f"{mpi}={sys.executable}", "--out", str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = (tmp_path / "table.md").read_text()
    assert table in done.stdout
    assert "### all_reduce, 2 ranks" in table
    assert "| 4 KiB |" in table
    assert "### barrier, 2 ranks" in table
    assert (tmp_path / "all_reduce.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "results.json").exists()
