"""What a server does with pushes, without messages: clocks, updates and who may go on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pycoll.train import SGD, Parameter
from pycoll.train.ps import ASP, BSP, SSP, Consistency, ServerReport
from pycoll.train.ps.kept_part import KeptPart
from pycoll.train.ps.placement import parts_of
from pycoll.train.ps.protocol import open_answer


def members(*shapes: tuple[int, ...]) -> list[tuple[str, Parameter]]:
    return [
        (str(number), Parameter(np.full(shape, number, np.float32), np.zeros(shape, np.float32)))
        for number, shape in enumerate(shapes)
    ]


@pytest.mark.parametrize("servers", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("shapes", [[(3,)], [(5, 7), (4,), (1, 2, 3)], [(40, 40), (1,), (1,)]])
def test_servers_share_every_element_evenly(servers: int, shapes: list[Any]) -> None:
    bucket = members(*shapes)
    parts = parts_of(bucket, servers)
    total = sum(parameter.data.size for _, parameter in bucket)
    assert len(parts) == min(servers, total)
    assert max(part.count for part in parts) - min(part.count for part in parts) <= 1
    assert all(part.count == sum(piece.values.size for piece in part.pieces) for part in parts)
    for part in parts:
        for piece in part.pieces:
            piece.values[...] += 1  # a view: each element exactly once
    for number, (_, parameter) in enumerate(bucket):
        assert (parameter.data == number + 1).all()


class Served:
    """A part of three elements, all 0 at first, and three workers."""

    def __init__(self, consistency: Consistency) -> None:
        part = parts_of(members((3,)), 1)[0]
        self.kept = KeptPart(0, part, consistency, SGD, lambda step: 10.0**-step)
        self.kept.begin([0, 1, 2])
        self.report = ServerReport()

    def push(self, worker: int, gradient: float = -1.0) -> list[int]:
        """Return the workers that may go on thereafter."""
        self.kept.push(worker, np.full(3, gradient, np.float32), self.report)
        return [release.worker for release in self.kept.release(self.report)]

    def finish(self, worker: int) -> list[int]:
        self.kept.finish(worker)
        return [release.worker for release in self.kept.release(self.report)]

    @property
    def value(self) -> float:
        values = open_answer(self.kept.answer(), np.dtype("float32"))
        assert (values == values[0]).all()
        return float(values[0])


def test_bsp_makes_one_update_of_all_pushes() -> None:
    served = Served(BSP())
    assert served.push(2) == served.push(0) == []
    assert served.value == 0
    assert served.push(1) == [0, 1, 2]
    assert served.value == 3
    assert served.push(1) == []
    assert served.finish(0) == []
    assert served.push(2) == [1, 2]
    assert served.value == pytest.approx(3.2)  # the second step's learning rate
    assert served.report.staleness == {0: 5}


def test_asp_updates_at_every_push_and_counts_what_it_had_not_seen() -> None:
    served = Served(ASP())
    for value in (1, 1.1, 1.11, 1.111):
        assert served.push(0) == [0]
        assert served.value == pytest.approx(value)
    assert served.push(1) == [1]
    assert served.value == pytest.approx(2.111)
    assert served.report.staleness == {0: 4, 4: 1}
    assert served.report.leads == {1: 2, 2: 1, 3: 1, 4: 1}


def test_ssp_holds_whoever_is_too_far_ahead() -> None:
    served = Served(SSP(1))
    assert served.push(0) == [0]
    assert served.push(0) == []
    assert served.push(1) == [1]
    assert served.push(1) == []
    assert served.push(2) == [0, 1, 2]
    assert max(served.report.leads) == 1
    assert served.push(0) == []
    assert served.finish(2) == [0]
    assert "6 pushes by 3 workers" in str(served.report)


def test_answers_stay_as_they_are() -> None:
    """A message may be under way while the next update is made; equal ones are one message."""
    served = Served(ASP())
    before = served.kept.answer()
    assert served.kept.answer() is before
    served.push(0)
    assert served.value == 1
    assert (open_answer(before, np.dtype("float32")) == 0).all()


def test_pieces_of_matrices_are_decayed_and_those_of_vectors_are_not() -> None:
    bucket = members((2, 3), (4,))
    for _, parameter in bucket:
        parameter.data[...] = 1
    for part in parts_of(bucket, 3):
        kept = KeptPart(
            0, part, ASP(), lambda named: SGD(named, weight_decay=0.5), lambda step: 1.0
        )
        kept.begin([0])
        kept.push(0, np.zeros(part.count, np.float32), ServerReport())
        values = open_answer(kept.answer(), np.dtype("float32"))
        for piece in part.pieces:
            assert (values[piece.inside] == (0.5 if piece.name == "0" else 1)).all()


def test_negative_staleness_is_refused() -> None:
    with pytest.raises(ValueError, match="staleness must be at least 0, not -1; with ASP"):
        SSP(-1)
