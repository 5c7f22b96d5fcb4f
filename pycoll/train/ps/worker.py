"""A worker: it computes gradients, pushes them, and pulls the parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from pycoll.train.data_parallel.bucket import Bucket
from pycoll.train.layers.parameter import GradientError
from pycoll.train.ps.bucket_exchange import BucketExchange
from pycoll.train.ps.compression import Compression
from pycoll.train.ps.protocol import NOTICE_TAG, Notice, new_notice

if TYPE_CHECKING:
    from pycoll import Communicator


class Worker:
    """A rank that computes; `ParameterServer.working` makes it.

    The gradients of a bucket are pushed as soon as they are complete, while the backward pass
    goes on. Its parameters are pulled in the background, and waited for when the next forward
    pass reads one of them.

    Attributes
    ----------
    steps : int
        How many it has made.
    blocked_seconds : float
        Time spent waiting for parameters, in seconds: what was not hidden behind computing.
    """

    def __init__(
        self,
        comm: Communicator,
        servers: Sequence[int],
        buckets: Sequence[Bucket],
        compression: Compression | None,
    ) -> None:
        self._comm = comm
        self._servers = list(servers)
        self._exchanges = [
            BucketExchange(comm, servers, number, bucket, compression)
            for number, bucket in enumerate(buckets)
        ]
        self.steps = 0
        self.blocked_seconds = 0.0
        for exchange in self._exchanges:
            for _, parameter in exchange.bucket.members:
                parameter.on_complete = exchange.push_if_complete

    @contextmanager
    def pushing(self, passes: int = 1) -> Iterator[None]:
        """Make one step: push the gradients that backward passes inside the block write.

        Parameters
        ----------
        passes : int
            Backward passes (micro-batches) whose gradients are added up before they are pushed.

        Raises
        ------
        GradientError
            When a parameter got no gradient, or not from all passes: it is named.
        RankLostError
            When another rank was lost.
        """
        self.pull()
        for exchange in self._exchanges:
            exchange.begin(passes)
        self.notify(Notice.STEP)
        yield
        self._require_all_gradients()
        # Only now: the backward pass has read the parameters that its gradients are of.
        for exchange in self._exchanges:
            exchange.before_reads(partial(self._pull, exchange))
        self.steps += 1

    def stop(self) -> None:
        """Let what is done with the model from now on be none of its business."""
        for exchange in self._exchanges:
            for _, parameter in exchange.bucket.members:
                parameter.on_complete = parameter.on_read = None

    def pull(self) -> None:
        """Wait until all parameters are as this worker's next step shall see them.

        Reading `Parameter.data` waits by itself. This is for those who have kept an array.
        """
        for exchange in reversed(self._exchanges):
            self._pull(exchange)

    def pull_final(self) -> None:
        """Say that this worker has finished; wait for the parameters that all workers leave."""
        self.pull()
        self.notify(Notice.FINISHED)
        for exchange in self._exchanges:
            exchange.expect()
        self.pull()

    def notify(self, notice: Notice, rank: int = 0) -> None:
        """Say something to all servers."""
        message = new_notice(notice, rank)
        for server in self._servers:
            self._comm.send(message, server, NOTICE_TAG, async_op=True)

    def _pull(self, exchange: BucketExchange) -> None:
        if not exchange.pulling:
            return
        started = perf_counter()
        exchange.pull()
        self.blocked_seconds += perf_counter() - started

    def _require_all_gradients(self) -> None:
        missing = [
            name
            for exchange in self._exchanges
            for name, parameter in exchange.bucket.members
            if not parameter.complete
        ]
        if missing:
            raise GradientError(
                f"rank {self._comm.rank}: the backward pass wrote no complete gradient for "
                f"{', '.join(missing)}; every parameter of the model must take part in the loss"
            )
