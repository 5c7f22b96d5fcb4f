"""Synchronous parameter servers against one process that does everything."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from small_parameter_server import (
    comm,
    on_one_process,
    require_close,
    require_same_on_workers,
    server_of,
    small_gpt,
    values,
    work,
)

from pycoll.train import SGD, AdamW
from pycoll.train.ps import (
    BSP,
    TopK,
)

if comm.size not in (2, 8):
    pytest.skip("runs on 2 or 8 ranks", allow_module_level=True)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (partial(SGD, momentum=0.9, nesterov=True, weight_decay=0.1), {"bucket_bytes": 100}),
        (partial(AdamW, weight_decay=0.1, epsilon=1e-4), {"compression": TopK(1.0)}),
    ],
)
def test_bsp_equals_one_process(optimizer: Callable[..., Any], options: dict[str, Any]) -> None:
    """20 steps in two runs, with a schedule and weight decay, on buckets cut between servers."""
    model = small_gpt()
    ps = server_of(model, BSP(), optimizer=optimizer, **options)
    for steps in (range(5), range(5, 20)):
        if ps.is_server:
            report = ps.serve()
            assert set(report.staleness) == set(report.leads) == {0}
            assert len(set(report.pushes.values())) == 1
        else:
            work(ps, model, steps)
    require_same_on_workers(model, ps)
    if not ps.is_server:
        require_close(values(model), on_one_process(optimizer, [slice(None)] * 20))
