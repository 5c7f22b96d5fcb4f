"""One bucket of a worker on its way to the servers and back."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from pycoll.train.array_module import array_module_of, as_numpy
from pycoll.train.data_parallel.bucket import Bucket
from pycoll.train.ps.compression import Compression, ErrorFeedback
from pycoll.train.ps.placement import parts_of
from pycoll.train.ps.protocol import FIRST_BUCKET_TAG, HEADER_BYTES, open_answer
from pycoll.work import Work

if TYPE_CHECKING:
    from pycoll import Communicator


class BucketExchange:
    """Pushes the gradients of a bucket to all servers, and pulls its parameters.

    Answers arrive in buffers of their own: the backward pass that goes on meanwhile still reads
    the parameters.

    Attributes
    ----------
    pulling : bool
        Whether parameters are expected, or there already, that are not in their places yet.
    blocked_seconds : float
        Time spent waiting for them since the object was made, in seconds.
    """

    def __init__(
        self,
        comm: Communicator,
        servers: Sequence[int],
        number: int,
        bucket: Bucket,
        compression: Compression | None,
    ) -> None:
        self._comm = comm
        self._servers = list(servers)
        self._tag = FIRST_BUCKET_TAG + number
        self.bucket = bucket
        self._parts = parts_of(bucket.members, len(servers))
        self._feedback = [
            None if compression is None else ErrorFeedback(compression, part.count, part.dtype)
            for part in self._parts
        ]
        self._answers = [
            np.empty(HEADER_BYTES + part.count * part.dtype.itemsize, np.uint8)
            for part in self._parts
        ]
        self._pushes: list[Work[None]] = []
        self._pulls: list[Work[Any]] = []
        self.pulling = False
        self.blocked_seconds = 0.0

    def begin(self, passes: int) -> None:
        """Be ready for gradients: those of the last step have been sent."""
        for push in self._pushes:
            push.wait()
        self._pushes = []
        for _, parameter in self.bucket.members:
            parameter.clear_gradient(passes)

    def push(self) -> None:
        """Push the gradients, which are complete, and expect new parameters for them."""
        self.expect()
        gradients = as_numpy(self.bucket.flat)
        for part, feedback in zip(self._parts, self._feedback, strict=True):
            message = gradients[part.start : part.stop]
            if feedback is not None:
                message = feedback.encode(message)
            server = self._servers[part.server]
            self._pushes.append(self._comm.send(message, server, self._tag, async_op=True))

    def expect(self) -> None:
        """Post the receives of the servers' answers."""
        self.pulling = True
        self._pulls = [
            self._comm.recv(answer, self._servers[part.server], self._tag, async_op=True)
            for part, answer in zip(self._parts, self._answers, strict=True)
        ]

    def pull_when_read(self) -> None:
        """Let the first read of any of the parameters pull them all."""
        for _, parameter in self.bucket.members:
            parameter.on_read = self.pull

    def pull(self) -> None:
        """Wait for the answers, if any are expected, and put the parameters into their places.

        Raises
        ------
        RankLostError
            When a server has other news.
        """
        for _, parameter in self.bucket.members:
            parameter.on_read = None
        if not self.pulling:
            return
        started = perf_counter()
        for part, pull in zip(self._parts, self._pulls, strict=True):
            values = open_answer(pull.wait(), part.dtype)
            for piece in part.pieces:
                target = piece.values
                target[...] = array_module_of(target).asarray(values[piece.inside])
        self.pulling = False
        self.blocked_seconds += perf_counter() - started
