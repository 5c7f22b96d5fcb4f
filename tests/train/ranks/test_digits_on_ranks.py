"""The classifier of handwritten digits learns in every data-parallel way, with a straggler."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))

from digits import SHAPE, Job, with_data_parallel, with_local_sgd, with_parameter_server

import pycoll
from pycoll.train import MLP, Initializer
from pycoll.train.ps import ASP, BSP, SSP, EightBit, TopK

comm = pycoll.world()
if comm.size != 4:
    pytest.skip("runs on 4 ranks", allow_module_level=True)


@pytest.mark.parametrize(
    "options",
    [
        {"consistency": BSP()},
        {"consistency": ASP()},
        {"consistency": ASP(), "compression": TopK(0.05)},
        {"consistency": SSP(4), "compression": EightBit(), "servers": 2},
        None,
        "local",
    ],
)
def test_unseen_digits_are_known(options: Any) -> None:
    job = Job(comm, MLP(SHAPE, Initializer(seed=0)), steps=400, straggler=5)
    if options == "local":
        with_local_sgd(job)
    elif options is None:
        with_data_parallel(job)
    else:
        report = with_parameter_server(job, **options)
        if report is not None:
            assert sum(report.pushes.values()) == 400 * len(report.pushes)
            lead = options["consistency"].lead
            assert lead is None or max(report.leads) <= lead
    assert job.accuracy() >= 0.95
