"""The comparison with other libraries: its table, its targets, its pictures and its file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from compare_package import compare_modules

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def compare() -> SimpleNamespace:
    """Return the modules of the package, which lies beside the library."""
    return compare_modules("job", "picture", "results", "table", "targets")


@pytest.fixture
def results(compare: Any) -> Any:
    """Return made-up results: all_reduce and barrier, 8 ranks, three rounds."""
    made = compare.results.Results("the command", "2025-01-02T03:04", "2 cores (some processor)")
    made.copy_bandwidths = [20e9, 10e9, 16e9]
    times = {
        "registered": (10e-6, 100e-6),
        "pycoll": (20e-6, 0.0012344),
        "openmpi": (30e-6, 0.012345),
        "gloo": (25e-6, 0.5),
    }
    for name, (small, large) in times.items():
        made.versions[name] = f"version of {name}"
        for number, factor in enumerate((0.5, 1.0, 4.0)):
            batches = [(small * factor,), (large * factor / 2, large * factor, large * factor * 3)]
            wrong = int(name == "gloo" and number == 1)
            measured = tuple(
                compare.job.Measured(count, wrong * (count > 2), seconds)
                for count, seconds in zip((2, 1 << 18), batches, strict=True)
            )
            made.runs.append(
                compare.results.Run("all_reduce", 8, name, number, (8, 1 << 20), measured)
            )
    made.runs.append(
        compare.results.Run("barrier", 8, "pycoll", 0, (0,), (compare.job.Measured(0, 0, (3e-6,)),))
    )
    made.left_out["impi"] = "pip failed"
    made.note("Gloo, all_reduce on 8 ranks: wrong result at 1048576 B")
    return made


def test_table_has_times_ratios_and_the_share_of_the_limit(compare: Any, results: Any) -> None:
    lines = compare.table.tabulate(results).splitlines()
    assert (
        "| size | pycoll registered | pycoll | Open MPI | Gloo | best peer / registered "
        "| best peer / pycoll | registered, of the limit | pycoll, of the limit |"
    ) in lines
    assert "| 8 B | 10.0 | 20.0 | 30.0 | **25.0** | 2.50 | 1.25 | 0% | 0% |" in lines
    # Gloo's wrong result counts in no round; the limit is 8 MiB at the median of 16 GB/s.
    assert "| 1 MiB | 100 | 1230 | **12300** | - | 123.45 | 10.00 | 524% | 42% |" in lines
    assert "| - | - | 3.00 | - | - | - | - |" in lines
    assert "- Intel MPI: pip failed" in lines
    assert "- Gloo, all_reduce on 8 ranks: wrong result at 1048576 B" in lines


def test_targets_say_where_they_are_missed(compare: Any, results: Any) -> None:
    lines = compare.table.tabulate(results).splitlines()
    at_8_ranks = "| all_reduce | 8 |"
    assert [line for line in lines if line.startswith(at_8_ranks)] == [
        f"{at_8_ranks} pycoll registered | 8 B .. 8 B | 2 | 2.50 | 2.50 at 8 B | yes |",
        f"{at_8_ranks} pycoll | 8 B .. 8 B | 2 | 1.25 | 1.25 at 8 B | **no** |",
        f"{at_8_ranks} pycoll registered | 1 MiB .. 1 MiB | 3 | 123.45 | 123.45 at 1 MiB | yes |",
        f"{at_8_ranks} pycoll | 1 MiB .. 1 MiB | 1.5 | 10.00 | 10.00 at 1 MiB | yes |",
    ]


def test_a_target_has_a_floor_at_every_size(compare: Any) -> None:
    target = compare.targets.Target(("registered",), (0, 100), ratio=3.0, floor=2.5)
    verdict = partial(compare.targets.Verdict, "all_reduce", 2, "registered", target)
    assert verdict({1: 4.0, 2: 2.5, 3: 3.0}).met
    assert not verdict({1: 4.0, 2: 2.4, 3: 3.0}).met
    assert not verdict({1: 4.0, 2: 2.9, 3: 2.9}).met


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (1.234e-7, "0.123"),
        (9.996e-7, "1.00"),
        (12.34e-6, "12.3"),
        (0.0999e-3, "99.9"),
        (44.44e-3, "44400"),
    ],
)
def test_times_have_three_digits(compare: Any, seconds: float | None, text: str) -> None:
    assert compare.table.microseconds(seconds) == text


def test_picture_names_everybody(compare: Any, results: Any, tmp_path: Path) -> None:
    path = tmp_path / "picture.svg"
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        compare.picture.draw(results, "all_reduce", path)
    text = path.read_text()
    for name in ("pycoll registered", "Open MPI", "Gloo", "limit of memcpy", "8 ranks"):
        assert f">{name}<" in text


def test_results_are_read_as_they_were_written(compare: Any, results: Any, tmp_path: Path) -> None:
    results.write(tmp_path / "results.json")
    assert compare.results.Results.read(tmp_path / "results.json") == results
    (tmp_path / "other.json").write_text('{"environment": {}}')
    with pytest.raises(ValueError, match="holds no results of a comparison"):
        compare.results.Results.read(tmp_path / "other.json")
