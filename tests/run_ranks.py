"""Runs pytest on every rank of an mpirun; a test passes when it passes on all ranks."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Generator
from typing import Any

import pytest
from mpi4py import MPI

os.environ["PYCOLL_UNDER_MPIRUN"] = "1"
# Tests of ranks need no plugins, and 8 ranks on 2 cores take 4 s to load that of hypothesis.
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"


class SameOutcomeOnAllRanks:
    """Makes a test that fails on one rank fail on all, with the texts of all failures.

    Ranks tell each other once per test, at its end: under an MPI that spins, it costs milliseconds.
    """

    def __init__(self) -> None:
        self._failures: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, Any]:
        report = yield
        if report.failed:
            self._failures.append(report.longreprtext)
        if report.when != "teardown":
            return report
        ends = MPI.COMM_WORLD.allgather((item.nodeid, "\n".join(self._failures)))
        self._failures = []
        if any(nodeid != item.nodeid for nodeid, _ in ends):
            sys.stderr.write(f"ranks run different tests: {[nodeid for nodeid, _ in ends]}\n")
            MPI.COMM_WORLD.Abort(1)
        texts = [f"--- rank {rank} ---\n{text}" for rank, (_, text) in enumerate(ends) if text]
        if texts:
            report.outcome = "failed"
            report.longrepr = "\n".join(texts)
        return report


def main() -> int:
    if MPI.COMM_WORLD.rank != 0:
        sys.stdout = io.StringIO()  # rank 0 shows what happened on all
    # In one folder for temporary files, ranks would clean up after each other.
    with tempfile.TemporaryDirectory() as folder:
        options = ["-p", "no:cacheprovider", "-x", "-q", "--color=no"]
        options.append(f"--basetemp={folder}/pytest")
        return int(pytest.main([*options, *sys.argv[1:]], plugins=[SameOutcomeOnAllRanks()]))


if __name__ == "__main__":
    sys.exit(main())
