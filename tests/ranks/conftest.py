"""What the tests on several ranks share. Every rank runs every test, in the same order."""

from __future__ import annotations

import pytest
from mpi4py import MPI

import pycoll


@pytest.fixture(scope="session")
def comm() -> pycoll.Communicator:
    return pycoll.Communicator()


@pytest.fixture(scope="session")
def mpi() -> MPI.Intracomm:
    """For what tests have to tell each other besides pycoll."""
    return MPI.COMM_WORLD
