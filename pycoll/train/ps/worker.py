"""A worker: it computes gradients, pushes them, and pulls the parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from pycoll.train.data_parallel.bucket import Bucket, require_all_gradients
from pycoll.train.ps.bucket_exchange import BucketExchange
from pycoll.train.ps.compression import Compression
from pycoll.train.ps.protocol import NOTICE_TAG, Notice, new_notice

if TYPE_CHECKING:
    from pycoll import Communicator


class Worker:
    """A rank that computes; `ParameterServer.working` makes it.

    The gradients of a bucket are pushed as soon as they are complete, while the backward pass
    goes on. Its parameters are pulled in the background, and waited for when one of them is read:
    when the next forward pass comes to the first layer that uses the bucket.

    Attributes
    ----------
    steps : int
        How many it has made.
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
        self._announced = False
        for exchange in self._exchanges:
            for _, parameter in exchange.bucket.members:
                parameter.on_complete = partial(self._push_if_complete, exchange)

    @property
    def blocked_seconds(self) -> float:
        """Time spent waiting for parameters, in seconds: what was not hidden behind computing."""
        return sum(exchange.blocked_seconds for exchange in self._exchanges)

    @contextmanager
    def pushing(self, passes: int = 1) -> Iterator[None]:
        """Make one step: push the gradients that backward passes inside the block write.

        Forward passes may run in the block or before it.

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
        for exchange in self._exchanges:
            exchange.begin(passes)
        self._announced = False
        if not any(exchange.pulling for exchange in self._exchanges):
            self._announce()
        yield
        require_all_gradients(self._comm.rank, (e.bucket for e in self._exchanges))
        # Not when they are expected: the rest of the backward pass needs the values of this step.
        for exchange in self._exchanges:
            exchange.pull_when_read()
        self.steps += 1

    def stop(self) -> None:
        """Let what becomes of the parameters be none of its business."""
        for exchange in self._exchanges:
            for _, parameter in exchange.bucket.members:
                parameter.on_complete = parameter.on_read = None

    def pull(self) -> None:
        """Wait until all parameters are as this worker's next step shall see them.

        Reading `Parameter.data` does so for its bucket. This is for values that are read by other
        means, such as an array kept from before.
        """
        for exchange in reversed(self._exchanges):
            exchange.pull()

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

    def _push_if_complete(self, exchange: BucketExchange) -> None:
        if exchange.bucket.complete:
            self._announce()
            exchange.push()

    def _announce(self) -> None:
        """Tell the servers, once, that a step begins. They owe nothing of the last step then."""
        if not self._announced:
            self.pull()  # what nobody has read: for these parameters, too, the bound holds
            self.notify(Notice.STEP)
            self._announced = True
