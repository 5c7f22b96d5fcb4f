"""Data parallelism: equal parameters on all ranks, gradients summed while backward goes on.

Each bucket of gradients is all-reduced as soon as its last gradient is written. The last layers
come first, so that their reduction overlaps with the backward pass of the layers before them.

Source: Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training"
(2020), section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from pycoll.train.data_parallel.bucket import fill_buckets
from pycoll.train.data_parallel.host_copy import SumInFlight, broadcast_in_place, shared_zeros
from pycoll.train.layers.layer import Layer
from pycoll.train.layers.parameter import GradientError

if TYPE_CHECKING:
    from pycoll import Communicator

MEBIBYTE = 1 << 20


class DataParallel:
    """Keep a model the same on all ranks of a communicator.

    Making one is collective: the parameters of rank 0 replace those of the other ranks. Gradients
    are *summed*, not averaged: the caller scales the loss by the global number of tokens, which
    is right also where ranks hold shards of different sizes.

    Parameters
    ----------
    model : Layer
        Its parameters' gradients become views into the buckets.
    comm : Communicator
    bucket_bytes : int
        See `fill_buckets`. Must be the same on all ranks.

    Attributes
    ----------
    blocked_seconds : float
        Time spent waiting for reductions since the object was made, in seconds: what overlap
        could not hide.

    Examples
    --------
    >>> with parallel.reducing():
    ...     model.backward(saved, dscores)
    >>> optimizer.step(learning_rate)
    """

    def __init__(self, model: Layer, comm: Communicator, bucket_bytes: int = MEBIBYTE) -> None:
        self.comm = comm
        self.blocked_seconds = 0.0
        parameters = model.named_parameters()
        for _, parameter in parameters:
            broadcast_in_place(comm, parameter.data)
        self.buckets = fill_buckets(parameters, bucket_bytes, partial(shared_zeros, comm))
        self._sums: list[SumInFlight] = []
        for _, parameter in parameters:
            parameter.on_complete = self._launch_complete_buckets

    @contextmanager
    def reducing(self, passes: int = 1) -> Iterator[None]:
        """Reduce the gradients that backward passes inside the block write.

        Gradients may be used after the block, not in it.

        Parameters
        ----------
        passes : int
            Backward passes (micro-batches) whose gradients are added up before reducing.

        Raises
        ------
        GradientError
            When a parameter got no gradient, or not from all passes: it is named.
        """
        # Left over from a block that raised: they still write to the buffers used again now.
        self._wait()
        for bucket in self.buckets:
            for _, parameter in bucket.members:
                parameter.clear_gradient(passes)
        yield
        self._require_all_gradients()
        started = perf_counter()
        self._wait()
        self.blocked_seconds += perf_counter() - started

    def _wait(self) -> None:
        for total in self._sums:
            total.wait()
        self._sums = []

    def _launch_complete_buckets(self) -> None:
        # Always in bucket order: ranks must start the same collectives in the same order, even
        # where gradients become complete in another one.
        while len(self._sums) < len(self.buckets):
            bucket = self.buckets[len(self._sums)]
            if not bucket.complete:
                break
            self._sums.append(SumInFlight(self.comm, bucket.flat))

    def _require_all_gradients(self) -> None:
        missing = [
            name
            for bucket in self.buckets
            for name, parameter in bucket.members
            if not parameter.complete
        ]
        if missing:
            raise GradientError(
                f"rank {self.comm.rank}: the backward pass wrote no complete gradient for "
                f"{', '.join(missing)}; every parameter of the model must take part in the loss"
            )
