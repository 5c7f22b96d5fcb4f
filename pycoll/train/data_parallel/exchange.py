"""What goes between the ranks for one bucket: gradients towards the optimizer, values back.

With ``sharded``, each rank's optimizer works on one of ``size`` equal parts of the bucket
(ZeRO stage 1): gradients are reduce-scattered and values all-gathered. Without, every rank's works
on all of it: gradients are all-reduced, and nothing has to go back.

Source: Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models"
(2020), section 5.1.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from pycoll.train.data_parallel.bucket import Bucket, Named
from pycoll.train.data_parallel.piece import Piece
from pycoll.train.data_parallel.wire import Wire
from pycoll.train.report.trace import Flight, span

if TYPE_CHECKING:
    from pycoll import Communicator, Work


class Exchange:
    """The traffic of one bucket. Making one is not collective; ``reduce`` and ``spread`` are.

    Parameters
    ----------
    dtype : dtype, optional
        In which gradients and values travel. Where it is not their own, the optimizer works on
        copies of the values in their own dtype (master weights), and the parameters themselves
        hold what has travelled: the masters, rounded.

    Attributes
    ----------
    trained : list of (str, Parameter)
        What the optimizer of this rank is to step on.
    blocked_seconds : float
        Time spent waiting for other ranks since the object was made, in seconds.
    reductions, hidden_reductions : int
        How often gradients were reduced, and how often they were before anybody waited for them.
    """

    def __init__(
        self, bucket: Bucket, comm: Communicator, *, sharded: bool, dtype: Any | None
    ) -> None:
        self.bucket = bucket
        self.trained: list[Named] = bucket.members
        self.blocked_seconds = 0.0
        self.reductions = self.hidden_reductions = 0
        self._comm = comm
        self._sharded = sharded
        self._gradients = Wire(comm, bucket.flat, dtype)
        self._values: Wire | None = None
        self._masters = None
        self._reduction: Work[Any] | None = None
        self._arrival: Work[Any] | None = None
        self._flight: Flight
        self._spreading = False
        length = len(bucket.flat) // comm.size if sharded else len(bucket.flat)
        first = comm.rank * length if sharded else 0
        self._own = slice(first, first + length)
        if sharded or dtype is not None:
            values = bucket.join_values()
            self._values = Wire(comm, values, dtype)
            data = values[self._own]
            if dtype is not None:
                data = self._masters = data.copy()
                self._values.load()
                self._values.store()  # the model starts from rounded values, too
            grad = bucket.flat[self._own]
            self.trained = [
                (name, Piece(whole, of.start, of.stop, data=data[at], grad=grad[at]))
                for name, whole, of, at in bucket.cut(first, first + length)
            ]

    def reduce(self) -> None:
        """Start to sum the gradients over all ranks; `finish_reduce` ends it."""
        self._gradients.load()
        self._flight = Flight("reduce gradients")
        memory = self._gradients.memory
        self._reduction = (
            self._comm.reduce_scatter(memory, memory[self._own], op="sum", async_op=True)
            if self._sharded
            else self._comm.all_reduce(memory, op="sum", async_op=True)
        )

    def finish_reduce(self) -> None:
        """Wait until the gradients of ``trained`` are the sums."""
        if self._reduction is not None:
            work, self._reduction = self._reduction, None
            self.reductions += 1
            self.hidden_reductions += work.test()
            self._wait(work)
            self._gradients.store(self._own)

    def spread(self) -> None:
        """Start to give all ranks the values of ``trained``; the first read of a value ends it."""
        if self._values is None:
            return
        self._values.load(self._own, source=self._masters)
        memory = self._values.memory
        if self._sharded:
            self._flight = Flight("gather values")
            self._arrival = self._comm.all_gather(memory[self._own], memory, async_op=True)
        self._spreading = True
        for _, parameter in self.bucket.members:
            parameter.on_read = self.finish_spread

    def finish_spread(self) -> None:
        """Wait until the parameters of this rank have the values of all ranks' ``trained``."""
        if self._values is None or not self._spreading:
            return
        self._spreading = False
        for _, parameter in self.bucket.members:
            parameter.on_read = None
        if self._arrival is not None:
            work, self._arrival = self._arrival, None
            self._wait(work)
        self._values.store()

    def _wait(self, work: Work[Any]) -> None:
        started = perf_counter()
        with span("wait for gradients or values", "waiting"):
            work.wait()
        self._flight.land()
        self.blocked_seconds += perf_counter() - started
