"""The ranks that hold a layer's weights together, and how activations pass between them.

Activations are in one of two forms. *Whole*, every rank of the group has all positions of all
sequences. *Resident*, between the split layers, is the form of the residual stream: without
sequence parallelism that is whole, too; with it each rank has its 1/size of the positions. Two
operations lead from one to the other, and each is the backward function of the other:

- `gather`, resident to whole: nothing, or an all-gather;
- `sum`, partial sums of the whole to resident: an all-reduce, or a reduce-scatter.

Source: Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model
Parallelism" (2019), section 3, where the pairs are called f and g; with sequence parallelism
Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models" (2022), section
4.2.2.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from pycoll.train.array_module import Array, array_module_of, device_of
from pycoll.train.data.shard import shard
from pycoll.train.layers.shard import Shard
from pycoll.train.report.trace import span
from pycoll.train.tensor_parallel.in_flight import InFlight

if TYPE_CHECKING:
    from pycoll import Communicator, Work


class TensorGroup:
    """The ranks among which each weight matrix is split; without a communicator, one rank alone.

    Layers are written once, for a group: of one rank, it splits nothing and sends nothing.

    Parameters
    ----------
    comm : Communicator, optional
        Of the group, such as ``mesh.tp``.
    sequence_parallel : bool
        Whether what is between the split layers (norms, residuals) is split along the sequences.

    Attributes
    ----------
    rank, size : int
        Number of this rank in the group, and number of ranks.
    sequence_parallel : bool
        False where the group is of one rank.
    blocked_seconds : float
        Time spent waiting for the other ranks since the object was made, in seconds.
    """

    def __init__(
        self, comm: Communicator | None = None, *, sequence_parallel: bool = False
    ) -> None:
        # One rank has nobody to talk to.
        self._comm = comm if comm is not None and comm.size > 1 else None
        self.rank = self._comm.rank if self._comm else 0
        self.size = self._comm.size if self._comm else 1
        self.sequence_parallel = sequence_parallel and self._comm is not None
        self.blocked_seconds = 0.0

    @property
    def alone(self) -> bool:
        """Whether the group is of one rank."""
        return self._comm is None

    @property
    def sequence_group(self) -> TensorGroup | None:
        """The group itself with sequence parallelism, else None.

        It is what the gradients of parameters that meet resident activations are partial over.
        """
        return self if self.sequence_parallel else None

    def own_range(self, count: int) -> tuple[int, int]:
        """Return first and one after the last of the ``count`` things that this rank holds.

        Raises
        ------
        ValueError
            On all ranks, when there is not one for each.
        """
        if count < self.size:
            raise ValueError(
                f"{count} cannot be split among a tensor-parallel group of {self.size} ranks; "
                f"choose tp of at most {count}"
            )
        own = shard(count, self.rank, self.size)
        return own.start, own.stop

    def split(self, shape: tuple[int, ...], axis: int, blocks: int = 1) -> Shard | None:
        """Return which part of an array this rank holds; None where it holds all.

        Parameters
        ----------
        blocks : int
            Matrices that lie side by side along ``axis``, each of which is split.
        """
        if self.alone:
            return None
        length = shape[axis] // blocks
        start, stop = self.own_range(length)
        ranges = tuple((block * length + start, block * length + stop) for block in range(blocks))
        return Shard(shape, axis, ranges)

    def positions(self, length: int) -> slice:
        """Return which positions of a sequence this rank has in the resident form.

        Raises
        ------
        ValueError
            With sequence parallelism, when the ranks cannot have equally many.
        """
        if not self.sequence_parallel:
            return slice(0, length)
        if length % self.size:
            raise ValueError(
                f"{length} positions cannot be shared out equally among a sequence-parallel group "
                f"of {self.size} ranks; choose a length that is a multiple of {self.size}, or no "
                "sequence parallelism"
            )
        return shard(length, self.rank, self.size)

    def padding(self, length: int) -> int:
        """Return how many positions more make a length that can be shared out.

        Positions do not see later ones: zeros behind the last token change no prediction before.
        """
        return -length % self.size if self.sequence_parallel else 0

    def empty(self, shape: tuple[int, ...], like: Array) -> Array:
        """Return an array, of the kind and dtype of ``like``, that `sum` takes without a copy."""
        made: Array
        if self._comm is not None:
            made = self._comm.empty(shape, like.dtype, device=device_of(like))
        else:
            made = array_module_of(like).empty(shape, dtype=like.dtype)
        return made

    def start_gather(self, x: Array) -> InFlight:
        """Start to turn activations from resident to whole.

        Parameters
        ----------
        x : Array, shape (batch, length / size, width)
            Or of any shape without sequence parallelism. It must stay as it is until the end.
        """
        if self._comm is None or not self.sequence_parallel:
            return InFlight.done(x)
        own: Array = array_module_of(x).ascontiguousarray(x)
        batch, share = x.shape[:2]
        parts = self.empty((self.size * batch, *x.shape[1:]), x)
        work = self._comm.all_gather(own, parts, async_op=True)

        def side_by_side() -> Array:
            by_rank = parts.reshape(self.size, *x.shape).swapaxes(0, 1)
            return by_rank.reshape(batch, self.size * share, *x.shape[2:])

        return InFlight(partial(self._wait, work), side_by_side)

    def start_sum(self, x: Array) -> InFlight:
        """Start to add up what the ranks have, and to turn it from whole to resident.

        Parameters
        ----------
        x : Array, shape (batch, length, width)
            Or of any shape without sequence parallelism. It is overwritten.
        """
        if self._comm is None:
            return InFlight.done(x)
        if not self.sequence_parallel:
            work = self._comm.all_reduce(x, async_op=True)
            return InFlight(partial(self._wait, work), lambda: x)
        batch, length = x.shape[:2]
        self.positions(length)  # refuses a length that does not divide
        share = (batch, length // self.size, *x.shape[2:])
        # A collective cuts along the first axis: the positions of each rank go there.
        parts = self.empty((self.size, *share), x)
        parts[...] = x.reshape(batch, self.size, *share[1:]).swapaxes(0, 1)
        out = self.empty(share, x)
        work = self._comm.reduce_scatter(
            parts.reshape(self.size * batch, *share[1:]), out, async_op=True
        )
        return InFlight(partial(self._wait, work), lambda: out)

    def _wait(self, work: Work[Any]) -> None:
        started = perf_counter()
        with span("tensor group", "waiting"):
            work.wait()
        self.blocked_seconds += perf_counter() - started

    def gather(self, x: Array) -> Array:
        """Return activations in whole form; see `start_gather`."""
        return self.start_gather(x).wait()

    def sum(self, x: Array) -> Array:
        """Return sums over the ranks in resident form; see `start_sum`."""
        return self.start_sum(x).wait()

    def reduce(self, x: Array, op: Literal["sum", "max"] = "sum") -> None:
        """Fold an array over the ranks, in place, whatever it holds."""
        if self._comm is None:
            return
        self._wait(self._comm.all_reduce(x, op=op, async_op=True))

    def gather_last_axis(self, x: Array, count: int) -> Array:
        """Return an array that is split along its last axis, put together; such as scores.

        Parameters
        ----------
        count : int
            Length of the whole last axis.
        """
        if self._comm is None:
            return x
        whole = self.empty((*x.shape[:-1], count), x)
        whole[...] = 0
        start, stop = self.own_range(count)
        whole[..., start:stop] = x
        # For looking at predictions, not for training: a sum with zeros serves parts of different
        # lengths, too.
        self._comm.all_reduce(whole)
        return whole


#: The group of a model that is not split.
ALONE = TensorGroup()
