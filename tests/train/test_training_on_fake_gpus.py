"""Training whose arrays lie on fake GPUs: through pycoll's own path for GPUs."""

from __future__ import annotations

from pathlib import Path

import fake_gpu
from launching import Mpirun

TESTS = Path(__file__).parent.parent


def test_all_modes_on_fake_gpus(mpirun: Mpirun) -> None:
    """Four ranks share two GPUs; no race, and no use of memory that has been freed."""
    done = mpirun(
        4,
        str(TESTS / "run_ranks.py"),
        str(TESTS / "train" / "ranks" / "test_devices_on_ranks.py"),
        env=fake_gpu.environment(devices=2, max_delay_us=50),
        timeout=200,
    )
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
