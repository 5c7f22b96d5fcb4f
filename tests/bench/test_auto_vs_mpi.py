"""The script that compares auto with the MPI library: its table, its verdict and its picture."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "auto_vs_mpi.py"


@pytest.fixture(scope="module")
def script() -> Any:
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("auto_vs_mpi", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(size: int, ratio: float, chunk_bytes: int = 0) -> dict[str, Any]:
    return {
        "size": size,
        "time": 1234.5 * ratio,
        "mpi": {"time": 1234.5},
        "ratio": {"median": ratio, "low": ratio - 0.1, "high": ratio + 0.1},
        "algorithm": "ring",
        "chunk_bytes": chunk_bytes,
    }


REPORT = {
    "environment": {
        "mpi": "MPICH 5.0.2",
        "ranks": 4,
        "pycoll": "0.1.0",
        "transport": "mpi",
        "cores": 2,
        "processor": "some processor",
        "date": "2025-01-02T03:04:05+00:00",
    },
    "results": [record(8, 3.0), record(65536, 1.1), record(1 << 20, 1.3, 1 << 18)],
}


def test_slow_sizes_are_named_from_64_kib_on(script: Any) -> None:
    assert script.broken_promises([REPORT]) == ["4 ranks, 1 MiB: 1.30 times the MPI library's time"]


def test_table_has_a_row_for_each_size(script: Any) -> None:
    table = script.tabulate([REPORT], "some command")
    assert "Made by `some command`" in table
    assert "| 1 MiB | 1605 | 1234 | **1.30** (1.20-1.40) | ring / 256 KiB |" in table
    assert "| 8 B | 3704 | 1234 | **3.00** (2.90-3.10) | ring |" in table


def test_picture_is_drawn(script: Any, tmp_path: Path) -> None:
    script.draw([REPORT, REPORT], "some command", tmp_path / "picture.svg")
    assert "</svg>" in (tmp_path / "picture.svg").read_text()
