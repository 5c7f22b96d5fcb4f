"""The part of a bucket that a server keeps: values, their optimizer, and the workers' clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pycoll.train.array_module import as_numpy
from pycoll.train.layers.parameter import Parameter
from pycoll.train.optim.optimizer import Optimizer
from pycoll.train.ps.consistency import Consistency
from pycoll.train.ps.placement import Part, Piece
from pycoll.train.ps.protocol import Answer, new_answer
from pycoll.train.ps.report import Release, ServerReport

MakeOptimizer = Callable[[Sequence[tuple[str, Parameter]]], Optimizer]
Vector = npt.NDArray[Any]


class KeptPart:
    """A small parameter server by itself: it knows nothing of messages, nor of other parts.

    A worker's clock is the number of its gradients that have come here. A step of a worker may
    begin when the parts of its first layers let it, and layers come in their order: so all hold
    the worker to its bound, each by its own clocks.
    """

    def __init__(
        self,
        bucket: int,
        part: Part,
        consistency: Consistency,
        make_optimizer: MakeOptimizer,
        learning_rate: Callable[[int], float],
    ) -> None:
        self.bucket = bucket
        self.part = part
        self._consistency = consistency
        self._learning_rate = learning_rate
        self._values: Vector = np.concatenate([as_numpy(piece.values) for piece in part.pieces])
        self._gradients: Vector = np.zeros_like(self._values)
        self._optimizer = make_optimizer([self._parameter_of(piece) for piece in part.pieces])
        self._updates = 0
        self._steps_before = 0
        self.begin([])

    def begin(self, workers: Iterable[int]) -> None:
        """Expect these workers, which have the present values.

        Their clocks go on where the fastest of those before them stopped.
        """
        self._clocks = dict.fromkeys(workers, self._steps_before)
        self._seen = dict.fromkeys(self._clocks, self._updates)
        self._pushed: dict[int, Vector] = {}
        self._waiting: set[int] = set()
        self._answer: tuple[int, npt.NDArray[np.uint8]] | None = None

    def push(self, worker: int, gradients: Vector, report: ServerReport) -> None:
        """Take a worker's gradients, which must stay as they are until it is released."""
        report.pushes[worker] += 1
        self._waiting.add(worker)
        self._pushed[worker] = gradients
        if not self._consistency.synchronous:
            self._update([worker], report)

    def finish(self, worker: int) -> None:
        """Expect nothing of a worker any more: the others need not wait for it."""
        self._steps_before = max(self._steps_before, self._clocks.pop(worker))

    def release(self, report: ServerReport) -> list[Release]:
        """Make the update that was waited for, if any; return who may go on to the next step."""
        if self._pushed and self._pushed.keys() == self._clocks.keys():
            self._update(sorted(self._pushed), report)
        slowest = min(self._clocks.values(), default=0)
        lead = self._consistency.lead
        released = [
            Release(self.bucket, worker, self._clocks[worker], slowest)
            for worker in sorted(self._waiting - self._pushed.keys())
            if lead is None or self._clocks[worker] - slowest <= lead
        ]
        for release in released:
            self._waiting.discard(release.worker)
            self._seen[release.worker] = self._updates
            report.leads[release.step - release.slowest] += 1
        return released

    def answer(self) -> npt.NDArray[np.uint8]:
        """Return a message with the present values; it stays as it is."""
        if self._answer is None or self._answer[0] != self._updates:
            self._answer = (self._updates, new_answer(Answer.PARAMETERS, 0, self._values))
        return self._answer[1]

    def lost_answer(self, rank: int) -> npt.NDArray[np.uint8]:
        """Return a message of the same length that a rank is lost."""
        return new_answer(Answer.LOST, rank, self._values)

    def _update(self, workers: list[int], report: ServerReport) -> None:
        first, *others = (self._pushed.pop(worker) for worker in workers)
        self._gradients[:] = first
        for gradients in others:
            self._gradients += gradients
        self._optimizer.step(self._learning_rate(self._clocks[workers[0]]))
        for worker in workers:
            report.staleness[self._updates - self._seen[worker]] += 1
            self._clocks[worker] += 1
        self._updates += 1

    def _parameter_of(self, piece: Piece) -> tuple[str, Parameter]:
        # Of as many axes as the whole: optimizers treat matrices and vectors differently.
        shape = (*(1,) * (piece.parameter.data.ndim - 1), piece.stop - piece.start)
        data = self._values[piece.inside].reshape(shape)
        return piece.name, Parameter(data, self._gradients[piece.inside].reshape(shape))
