"""Data parallelism: equal parameters on all ranks, gradients summed while backward goes on.

Each bucket of gradients is reduced as soon as its last gradient is written. The last layers
come first, so that their reduction overlaps with the backward pass of the layers before them.

Sources: Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training"
(2020), section 3.2; Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion
Parameter Models" (2020), section 5.1; Micikevicius et al., "Mixed Precision Training" (2018),
section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from pycoll.train.data_parallel.bucket import Named, fill_buckets, require_all_gradients
from pycoll.train.data_parallel.exchange import Exchange
from pycoll.train.data_parallel.wire import Precision, dtype_of, shared_zeros
from pycoll.train.layers.layer import Layer
from pycoll.train.optim.optimizer import Optimizer

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
    model : Layer or sequence of (str, Parameter)
        Its parameters' gradients become views into the buckets, and with ``zero`` or "bfloat16"
        their values, too.
    comm : Communicator
        Of the ranks that hold the same parameters.
    bucket_bytes : int
        See `fill_buckets`. Must be the same on all ranks, as the following.
    zero : {0, 1}
        With 1, each rank's optimizer works on its 1/size of every bucket (ZeRO stage 1): the state
        of the optimizer takes 1/size of the memory, and a step 1/size of the time.
    precision : {"full", "bfloat16"}
        With "bfloat16", gradients and values travel in bfloat16, and the model computes with values
        that are rounded to it, while the optimizer works on values in full precision.

    Attributes
    ----------
    parameters : list of (str, Parameter)
        What this rank's optimizer must be made of: the model's parameters themselves, or with
        ``zero`` or "bfloat16" a `Piece` of each that this rank has a part of. After `reducing`
        their gradients are the sums over all ranks.

    Raises
    ------
    ValueError
        For a ``zero`` or ``precision`` that does not exist.
    ImportError
        For "bfloat16" without ml_dtypes.

    Examples
    --------
    >>> parallel = DataParallel(model, comm, zero=1)
    >>> optimizer = AdamW(parallel.parameters)
    >>> with parallel.reducing():
    ...     model.backward(saved, dscores)
    >>> parallel.step(optimizer, learning_rate)
    """

    def __init__(
        self,
        model: Layer | Sequence[Named],
        comm: Communicator,
        bucket_bytes: int = MEBIBYTE,
        *,
        zero: int = 0,
        precision: Precision = "full",
    ) -> None:
        if zero not in (0, 1):
            raise ValueError(f"there is no zero stage {zero!r}; choose 0 or 1")
        dtype = dtype_of(precision)
        self.comm = comm
        self.sharded = zero == 1
        named = list(model) if isinstance(model, Sequence) else model.named_parameters()
        for _, parameter in named:
            comm.broadcast(parameter.data, root=0)
        self.buckets = fill_buckets(
            named, bucket_bytes, partial(shared_zeros, comm), comm.size if self.sharded else 1
        )
        self._exchanges = [
            Exchange(bucket, comm, sharded=self.sharded, dtype=dtype) for bucket in self.buckets
        ]
        self.parameters: list[Named] = (
            named
            if not self.sharded and dtype is None
            else [entry for exchange in reversed(self._exchanges) for entry in exchange.trained]
        )
        self._reducing = 0
        for _, parameter in named:
            parameter.on_complete = self._reduce_complete_buckets

    @contextmanager
    def reducing(self, passes: int = 1) -> Iterator[None]:
        """Reduce the gradients that backward passes inside the block write.

        Gradients may be used after the block, not in it: those of ``parameters``. With ``zero``
        those of the model are this rank's own or partial sums.

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
        self._finish_reducing()
        for bucket in self.buckets:
            for _, parameter in bucket.members:
                parameter.clear_gradient(passes)
        yield
        require_all_gradients(self.comm.rank, self.buckets)
        self._finish_reducing()

    def step(self, optimizer: Optimizer, learning_rate: float) -> None:
        """Make a step of the optimizer, and give its result to the model on all ranks. Collective.

        Buckets travel as soon as the optimizer is done with them, those of the first layers first.
        They may still be on their way when this returns: reading a parameter's values waits for
        its bucket, so that the rest arrives while the next forward pass goes on.

        Raises
        ------
        ValueError
            When the optimizer was not made of this object's ``parameters``.
        """
        self._require_own(optimizer)
        self._finish_spreading()  # of values that nobody has read
        left = [{id(parameter) for _, parameter in e.trained} for e in self._exchanges]
        exchange_of = {key: number for number, keys in enumerate(left) for key in keys}
        # Always in this order, as for gradients.
        waiting = list(reversed(range(len(left))))

        def spread_finished() -> None:
            while waiting and not left[waiting[0]]:
                self._exchanges[waiting.pop(0)].spread()

        spread_finished()  # a bucket of which this rank has nothing but padding
        for parameter in optimizer.updates(learning_rate):
            left[exchange_of[id(parameter)]].discard(id(parameter))
            spread_finished()

    def spread(self) -> None:
        """Give all ranks the values that ``parameters`` have on the ranks they belong to.

        Collective. For values that came from elsewhere than `step`, such as a checkpoint.
        """
        self._finish_spreading()
        for exchange in reversed(self._exchanges):
            exchange.spread()

    @property
    def blocked_seconds(self) -> float:
        """Time spent waiting for other ranks since the object was made, in seconds.

        It is what overlap could not hide.
        """
        return sum(exchange.blocked_seconds for exchange in self._exchanges)

    @property
    def hidden_share(self) -> float | None:
        """How much of the gradients, in bytes, was reduced before the backward pass had ended.

        On this rank, since the object was made; None before the first reduction.
        """
        reduced = sum(e.reductions * e.bucket.flat.nbytes for e in self._exchanges)
        hidden = sum(e.hidden_reductions * e.bucket.flat.nbytes for e in self._exchanges)
        return hidden / reduced if reduced else None

    @property
    def counted(self) -> list[Named]:
        """Those of ``parameters`` that this rank counts where all ranks count each element once.

        For a norm over all gradients, such as clipping needs: with ``zero`` every rank counts its
        pieces, without it rank 0 counts all parameters.
        """
        return self.parameters if self.sharded or self.comm.rank == 0 else []

    def _finish_reducing(self) -> None:
        for exchange in self._exchanges[: self._reducing]:
            exchange.finish_reduce()
        self._reducing = 0

    def _finish_spreading(self) -> None:
        for exchange in self._exchanges:
            exchange.finish_spread()

    def _reduce_complete_buckets(self) -> None:
        # Always in bucket order: ranks must start the same collectives in the same order, even
        # where gradients become complete in another one.
        while self._reducing < len(self.buckets) and self.buckets[self._reducing].complete:
            self._exchanges[self._reducing].reduce()
            self._reducing += 1

    def _require_own(self, optimizer: Optimizer) -> None:
        own = {id(parameter) for _, parameter in self.parameters}
        given = {id(parameter) for _, parameter in optimizer.parameters}
        if own != given:
            raise ValueError(
                f"rank {self.comm.rank}: the optimizer steps on other parameters than this "
                "DataParallel's; make it of DataParallel.parameters"
            )
