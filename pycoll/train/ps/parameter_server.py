"""Which ranks are servers and which are workers, and what both must know."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np

from pycoll import CollectiveError
from pycoll.train.array_module import Array, array_module_of, as_numpy
from pycoll.train.data_parallel.bucket import fill_buckets
from pycoll.train.layers.layer import Layer
from pycoll.train.ps.compression import Compression
from pycoll.train.ps.consistency import BSP, Consistency
from pycoll.train.ps.kept_part import KeptPart, MakeOptimizer
from pycoll.train.ps.placement import Named, parts_of
from pycoll.train.ps.protocol import FIRST_BUCKET_TAG, Notice, RankLostError
from pycoll.train.ps.report import Release, ServerReport
from pycoll.train.ps.server import Server
from pycoll.train.ps.worker import Worker
from pycoll.train.verdict import RefusedError, agreed

if TYPE_CHECKING:
    from pycoll import Communicator

MEBIBYTE = 1 << 20

# Communicators of runs that may not have ended well, for ever: messages may be under way that
# nobody will receive, and MPI gives the context of a communicator that is freed to the next one,
# which then would. (Open MPI 5 aborted in the next split.)
_unfinished: set[Communicator] = set()


class ParameterServer:
    """Split ranks into servers, which keep the parameters, and workers, which compute gradients.

    The last ``servers`` ranks are servers, the others workers. Making one is collective: all ranks
    pass an equal model and equal arguments, and the parameters of rank 0 count. Then servers call
    `serve`, and workers make their steps inside a block of `working`. Afterwards all workers have
    the same parameters; those of the servers' own models stay as they were. Both may be done again,
    by all ranks: the optimizers' state and the schedule of learning rates go on.

    Gradients are summed, not averaged: a worker scales its loss by the number of samples in the
    batches of all workers. So with `SGD` without momentum a step of all workers moves the
    parameters alike under every consistency, to first order.

    Parameters
    ----------
    model : Layer
        The gradients of a worker's model become views into buckets.
    comm : Communicator
        Not used after this call: messages go over a duplicate of it.
    optimizer : callable
        Makes the servers' optimizers from named parameters, such as `SGD` or
        ``partial(AdamW, weight_decay=0)``. Each sees pieces of parameters, so it must treat all
        elements alike, as both do. Under `ASP` and `SSP`, it makes a step per push.
    servers : int
        How many ranks are servers: at least 1, and fewer than there are ranks.
    learning_rate : float or callable
        The same for all steps, or a function of the step of the worker that pushes, from 0.
    consistency : Consistency
        `BSP`, `ASP` or `SSP`.
    compression : Compression, optional
        Of pushes: `TopK` or `EightBit`. What one push loses is added to the next.
    bucket_bytes : int
        See `fill_buckets`: each bucket is one message to, and one from, each server.
    patience : float, optional
        Seconds after which servers give up a worker of which they hear nothing; it must be below
        the communicator's timeout, and is half of it by default.

    Raises
    ------
    RefusedError
        On all ranks, for arguments that make no sense or differ between ranks.
    """

    def __init__(
        self,
        model: Layer,
        comm: Communicator,
        optimizer: MakeOptimizer,
        *,
        servers: int = 1,
        learning_rate: float | Callable[[int], float],
        consistency: Consistency | None = None,
        compression: Compression | None = None,
        bucket_bytes: int = MEBIBYTE,
        patience: float | None = None,
    ) -> None:
        self._consistency = BSP() if consistency is None else consistency
        self._compression = compression
        self._patience = comm.timeout / 2 if patience is None else patience
        parameters = model.named_parameters()
        with agreed(comm):
            _require_roles(comm.size, servers)
            _require_patience(self._patience, comm.timeout)
            _require_contiguous(parameters)
            self._buckets = fill_buckets(parameters, bucket_bytes, _zeros)
            _require_tags(len(self._buckets), comm.tags)
        shapes = [(name, part.data.shape, part.data.dtype.str) for name, part in parameters]
        _require_equal(comm, repr((servers, self._consistency, compression, bucket_bytes, shapes)))
        for _, parameter in parameters:
            _broadcast(comm, parameter.data)
        self._comm = comm.dup()
        self.workers = list(range(comm.size - servers))
        self.servers = list(range(comm.size - servers, comm.size))
        self.is_server = comm.rank in self.servers
        self._parts = []
        with agreed(comm):
            if self.is_server:
                rate = learning_rate if callable(learning_rate) else _constant(learning_rate)
                number = self.servers.index(comm.rank)
                self._parts = [
                    KeptPart(bucket, part, self._consistency, optimizer, rate)
                    for bucket, members in enumerate(self._buckets)
                    for part in parts_of(members.members, servers)
                    if part.server == number
                ]
        _unfinished.add(self._comm)

    def serve(self, on_release: Callable[[Release], None] | None = None) -> ServerReport:
        """Keep the parameters until all workers have finished. On servers only.

        Parameters
        ----------
        on_release : callable, optional
            Called whenever a worker may go on, for a log of who was where.

        Raises
        ------
        RankLostError
            When a worker failed, or was not heard of in time: it is named.
        """
        if not self.is_server:
            raise RuntimeError(f"rank {self._comm.rank} is a worker; call working() there")
        server = Server(
            self._comm, self.workers, self._parts, self._compression, self._patience, on_release
        )
        with self._running():
            return server.run()

    @contextmanager
    def working(self) -> Iterator[Worker]:
        """Make steps inside the block. On workers only.

        At its end, this waits for the other workers. Where it ends by an exception, the servers
        hear of it, and through them all other workers. What compression has left out of the last
        push is dropped.

        Raises
        ------
        RankLostError
            When another rank was lost.
        """
        if self.is_server:
            raise RuntimeError(f"rank {self._comm.rank} is a server; call serve() there")
        worker = Worker(self._comm, self.servers, self._buckets, self._compression)
        with self._running():
            try:
                yield worker
                worker.pull_final()
            except BaseException as error:
                lost = error.rank if isinstance(error, RankLostError) else self._comm.rank
                with suppress(CollectiveError):  # that there is no way to say so is not the news
                    worker.notify(Notice.LOST, lost)
                raise
            finally:
                worker.stop()

    @contextmanager
    def _running(self) -> Iterator[None]:
        _unfinished.add(self._comm)
        yield
        _unfinished.discard(self._comm)


def _constant(learning_rate: float) -> Callable[[int], float]:
    return lambda step: learning_rate


def _zeros(count: int, like: Array) -> Array:
    zeros: Array = array_module_of(like).zeros(count, dtype=like.dtype)
    return zeros


def _broadcast(comm: Communicator, array: Array) -> None:
    """Replace an array by rank 0's. Collective; the servers' lie in host memory in any case."""
    host = as_numpy(array)
    comm.broadcast(host, root=0)
    if host is not array:
        array[...] = array_module_of(array).asarray(host)


def _require_roles(ranks: int, servers: int) -> None:
    if not 1 <= servers < ranks:
        raise ValueError(
            f"servers is {servers}, but {ranks} rank(s) must be at least one server and at least "
            f"one worker; "
            + (f"pass one from 1 to {ranks - 1}" if ranks > 1 else "start at least 2 ranks")
        )


def _require_patience(patience: float, timeout: float) -> None:
    if not 0 < patience < timeout:
        raise ValueError(
            f"patience is {patience:g} s; it must be above 0 and below the communicator's timeout "
            f"of {timeout:g} s"
        )


def _require_contiguous(parameters: list[Named]) -> None:
    if not parameters:
        raise ValueError("the model has no parameters")
    for name, parameter in parameters:
        if not parameter.data.flags.c_contiguous:
            raise ValueError(f"the parameter {name} is not contiguous in memory")


def _require_tags(buckets: int, tags: int) -> None:
    if buckets + FIRST_BUCKET_TAG > tags:
        raise ValueError(
            f"{buckets} buckets are more than the {tags} tags of the communicator allow; pass "
            "larger bucket_bytes"
        )


def _require_equal(comm: Communicator, text: str) -> None:
    digest = zlib.crc32(text.encode())
    extremes = comm.all_reduce(np.array([digest, -digest], dtype=np.int64), op="max")
    if extremes[0] != -extremes[1]:
        raise RefusedError(
            "ranks differ in servers, consistency, compression, bucket_bytes or in the names, "
            "shapes and dtypes of the model's parameters; all must pass the same"
        )
