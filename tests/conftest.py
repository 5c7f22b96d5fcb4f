"""How tests start programs under mpirun.

Test files below a folder `ranks` are not collected by pytest itself: `test_under_mpirun.py` runs
them, by `run_ranks.py`, on several numbers of ranks.
"""

from __future__ import annotations

import os

import pytest
from launching import Mpirun, run_under_mpirun

# What was measured on this machine must not decide what tests see.
os.environ["PYCOLL_TUNING"] = "off"

collect_ignore_glob = [] if "PYCOLL_UNDER_MPIRUN" in os.environ else ["*ranks/*"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark those that start ranks: `-m mpirun` is what there is to see with another MPI."""
    for item in items:
        if "mpirun" in getattr(item, "fixturenames", ()):
            item.add_marker("mpirun")


@pytest.fixture
def mpirun() -> Mpirun:
    return run_under_mpirun
