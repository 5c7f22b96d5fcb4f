"""Runs the tests below the folders `ranks` on several numbers of ranks."""

from __future__ import annotations

from pathlib import Path

import pytest
from launching import RANKS, Mpirun

TESTS = Path(__file__).parent
# Those that need a GPU are started by gpu/test_on_gpus.py.
FOLDERS = sorted(
    str(folder)
    for folder in TESTS.rglob("ranks")
    if folder.is_dir() and folder.parent.name != "gpu"
)


@pytest.mark.parametrize("ranks", RANKS)
def test_on_ranks(mpirun: Mpirun, ranks: int) -> None:
    done = mpirun(ranks, str(TESTS / "run_ranks.py"), *FOLDERS, timeout=400)
    assert done.returncode == 0, f"{done.stdout[-12000:]}\n{done.stderr[-4000:]}"
    print(done.stdout[-300:])
