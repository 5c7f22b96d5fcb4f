"""The comparison of training, on a model that trains in milliseconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from launching import ENVIRONMENT, ROOT, Mpirun

SMALL = ["--steps=2", "--rounds=1", "--batch-size=8", "--width=8", "--layers=2", "--context=8"]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.training", *arguments],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_mode_makes_the_same_losses(mpirun: Mpirun, tmp_path: Path) -> None:
    """Runs whose losses differ would be named, and the exit status be 1."""
    done = bench("--ranks=4", *SMALL, f"--out={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert {result["mode"] for result in results} == {"dp", "zero", "tp", "pp", "hybrid"}
    table = (tmp_path / "table.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 3
    assert "-" not in rows[2].split("|")[2:9]


def test_the_peer_trains_the_same_model(mpirun: Mpirun, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    peer = f"--peer={sys.executable}"
    done = bench("--ranks=2", "--modes=dp", peer, *SMALL, f"--out={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    losses = {result["mode"]: result["reports"][0]["losses"] for result in results}
    assert losses["ddp"] == pytest.approx(losses["dp"], rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--modes=dp,magic"], "unknown mode 'magic'; choose from dp, zero"),
        (["--ranks=two"], "--ranks: 'two' is not a list"),
        (["--steps=0"], "--steps must be at least 1"),
        (["--peer=/no/such/python"], "there is no interpreter /no/such/python"),
    ],
)
def test_wrong_options_are_named_in_one_line(arguments: list[str], message: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
