"""Ranks on two hosts, in earnest: everything between them goes over a network."""

from __future__ import annotations

from pathlib import Path

import network
import over_network
import pytest
from launching import Mpirun


def test_two_hosts(mpirun: Mpirun, tmp_path: Path) -> None:
    """Two ranks each: right results, the bytes of the price on the wire, mismatches are named."""
    try:
        with network.two_hosts(tmp_path) as launcher:
            done = mpirun(
                4,
                str(Path(over_network.__file__)),
                launcher=[*launcher, "-ppn", "2"],
                env=network.ENVIRONMENT,
                timeout=60,
            )
    except network.NoNetworkError as reason:
        pytest.skip(f"no network of two hosts: {reason}")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "all well over the network" in done.stdout
