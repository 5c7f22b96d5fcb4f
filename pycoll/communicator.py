"""The group of ranks that communicate with each other."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, Self, overload

import numpy.typing as npt
from mpi4py import MPI

from pycoll import _core, gpu_memory, shared_memory
from pycoll.arrays import Array
from pycoll.calling import integer
from pycoll.collectives import Collectives
from pycoll.point_to_point import PointToPoint
from pycoll.shared_memory import share_node
from pycoll.topology import find_topology, split_by_node
from pycoll.tuning.agreement import agree
from pycoll.vector_collectives import VectorCollectives
from pycoll.work import Work

DEFAULT_TIMEOUT = 600.0
MOST_COLORS = 2**31 - 1  # MPI takes a C int


class Communicator(Collectives, VectorCollectives, PointToPoint):
    """A group of ranks. Making one is collective: all its ranks must do so together.

    All ranks must make the same collective calls on a communicator in the same order, from
    whichever thread. Calls on different communicators do not disturb each other.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        Whose ranks to use; all ranks of the program by default. It is duplicated: the messages of
        pycoll and those of the program never meet.
    timeout : float, optional
        Seconds that any operation may take before it fails with a `TimeoutError`, after which the
        communicator can no longer be used. By default the environment variable PYCOLL_TIMEOUT, or
        600.

    Attributes
    ----------
    rank, size : int
        Number of this rank, from 0, and number of ranks.
    local_rank, local_size : int
        The same among the ranks of this node (host).
    node, node_count : int
        Number of this rank's node, from 0, and number of nodes.
    oversubscribed : bool
        Whether the ranks of this node outnumber the cores that they may use, here or in the
        communicator that this one was made from; then nobody spins while it waits.

    Raises
    ------
    ValueError
        For an intercommunicator or the null communicator.
    """

    def __init__(self, comm: MPI.Intracomm | None = None, *, timeout: float | None = None) -> None:
        parent = MPI.COMM_WORLD if comm is None else comm
        if not isinstance(parent, MPI.Intracomm) or parent == MPI.COMM_NULL:
            raise ValueError(
                f"'comm' is {comm!r}; pass an mpi4py intracommunicator, such as MPI.COMM_WORLD"
            )
        seconds = _timeout_in_seconds(timeout)
        self._start(parent.Dup(), seconds)

    def _start(self, own: MPI.Intracomm, timeout: float, *, crowded: bool = False) -> None:
        """Take over an MPI communicator that nobody else sends on."""
        with _duplicate(own) as setup:
            with split_by_node(setup) as local:
                topology = find_topology(setup, local, crowded=crowded)
                node = share_node(setup, local)
                all_share = setup.allreduce(node is not None, op=MPI.LAND)
            agreement = agree(setup, topology)
        self._mpi = own
        self._timeout = timeout
        self._copies_across = node is not None and node.copies_across
        self._core = _core.Communicator(
            own.py2f(),
            timeout=timeout,
            oversubscribed=topology.oversubscribed,
            model=agreement.costs.model(topology.nodes, topology.cores_per_node),
            wishes=agreement.wishes,
            segment=None if node is None else node.segment,
            ranks=[] if node is None else node.ranks,
            processes=[] if node is None else node.processes,
            nodes=topology.nodes if all_share else [],
            checks_calls=agreement.checks_calls,
            copies_across=self._copies_across,
            shares_gpus=os.environ.get(gpu_memory.SWITCH, "1") != "0",
        )
        self._shares_memory = node is not None and topology.local_size > 1
        self._call = self._core.calls(Work)
        self.rank = self._core.rank
        self.size = self._core.size
        self.local_rank = topology.local_rank
        self.local_size = topology.local_size
        self.node = topology.node
        self.node_count = topology.node_count
        self.oversubscribed = topology.oversubscribed

    def __repr__(self) -> str:
        return f"<pycoll.Communicator rank {self.rank} of {self.size}, {self.node_count} node(s)>"

    @property
    def transport(self) -> str:
        """What carries the data between ranks: the ranks of a node may share memory."""
        if not self._shares_memory:
            return self._core.transport
        if self.local_size == self.size:
            return "shared memory"
        return f"shared memory, {self._core.transport} between nodes"

    @property
    def sent_bytes(self) -> int:
        """Bytes of all messages that this rank has sent on this communicator so far.

        What goes through shared memory is not in it: with the ranks of each node sharing memory,
        hierarchical algorithms send messages between nodes only. What PYCOLL_CHECK sends is.
        """
        return self._core.sent_bytes

    @overload
    def empty(
        self,
        shape: int | tuple[int, ...],
        dtype: npt.DTypeLike = "float32",
        *,
        device: Literal["cpu"] = "cpu",
    ) -> npt.NDArray[Any]: ...
    @overload
    def empty(
        self, shape: int | tuple[int, ...], dtype: npt.DTypeLike = "float32", *, device: str
    ) -> Array: ...
    def empty(
        self,
        shape: int | tuple[int, ...],
        dtype: npt.DTypeLike = "float32",
        *,
        device: str = "cpu",
    ) -> Array:
        """Return a new array that all ranks of this node can see (registered memory).

        Collectives on such arrays, and on contiguous slices and views of them, move the data
        straight between the ranks' arrays, where all ranks pass such arrays. Not collective: a rank
        may make any number of them, of any shapes, and drop them whenever it likes. They outlive
        the communicator, and serve any other one as well.

        Parameters
        ----------
        shape : int or tuple of int
            As for `numpy.empty`.
        dtype : dtype
            As for `numpy.empty`, but float32 by default.
        device : str
            "cpu", "cuda", or "cuda:1" for the GPU with that number. "cuda" is the GPU that this
            communicator has been used with; before its first call on one, the current device of
            CuPy or PyTorch in this thread; where nothing has used a GPU yet, the one with the
            number ``local_rank`` modulo the number of GPUs.

        Returns
        -------
        array
            Of NumPy on the host. On a GPU of CuPy, where that is installed, else a `DeviceArray`.

        Raises
        ------
        ValueError, TypeError
            For a shape, dtype or device that makes no sense.
        OSError
            When there is not so much memory on the host.
        CudaError
            When there is not so much memory on the GPU, or no GPU.
        """
        with self._naming("empty"):
            if device != "cpu":
                return gpu_memory.empty(shape, dtype, self._gpu(device), zeros=False)
            return shared_memory.empty(shape, dtype)

    @overload
    def zeros(
        self,
        shape: int | tuple[int, ...],
        dtype: npt.DTypeLike = "float32",
        *,
        device: Literal["cpu"] = "cpu",
    ) -> npt.NDArray[Any]: ...
    @overload
    def zeros(
        self, shape: int | tuple[int, ...], dtype: npt.DTypeLike = "float32", *, device: str
    ) -> Array: ...
    def zeros(
        self,
        shape: int | tuple[int, ...],
        dtype: npt.DTypeLike = "float32",
        *,
        device: str = "cpu",
    ) -> Array:
        """Return a new array like `empty`, filled with zeros."""
        with self._naming("zeros"):
            if device != "cpu":
                return gpu_memory.empty(shape, dtype, self._gpu(device), zeros=True)
            array = shared_memory.empty(shape, dtype)
        array.fill(0)
        return array

    def _gpu(self, device: str) -> int:
        """Return the number of the GPU that a name means to this communicator."""
        kind, colon, number = str(device).partition(":")
        if kind != "cuda" or (colon and not number.isdecimal()):
            raise ValueError(f"'device' is {device!r}; pass 'cpu', 'cuda', or 'cuda:0' and so on")
        if colon:
            return integer("device", int(number), 0, len(_core.cuda_devices()) - 1)
        for gpu in (self._core.gpu, _core.current_gpu()):
            if gpu is not None:
                return gpu
        return self.local_rank % len(_core.cuda_devices())

    @property
    def timeout(self) -> float:
        """Seconds that an operation may take."""
        return self._timeout

    def split(self, color: int | None, key: int = 0) -> Communicator | None:
        """Make one communicator of all ranks with the same color. Collective.

        Parameters
        ----------
        color : int or None
            From 0; ranks that pass None are in no new communicator.
        key : int
            Ranks are numbered by key, and by their rank here where keys are equal.

        Returns
        -------
        Communicator or None
            The one that this rank is in.

        Raises
        ------
        TimeoutError
            When a rank does not call it in time.
        """
        with self._naming("split"):
            color = MPI.UNDEFINED if color is None else integer("color", color, 0, MOST_COLORS)
            key = integer("key", key, -MOST_COLORS, MOST_COLORS)
        self._meet("split")
        own = MPI.Intracomm(self._mpi.Split(color, key))
        return None if own == MPI.COMM_NULL else self._made_from(own)

    def dup(self) -> Communicator:
        """Make a communicator of the same ranks, for calls in another order. Collective."""
        self._meet("dup")
        return self._made_from(self._mpi.Dup())

    def close(self) -> None:
        """Wait for all outstanding operations and give everything back.

        Optional: a communicator that is no longer used gives everything back by itself. Calls
        after it raise `CollectiveError`. Closing twice does nothing.
        """
        self._core.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._core.closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A rank that leaves by an exception must not wait for peers that never hear of it.
        if kind is None:
            self.close()

    def _made_from(self, own: MPI.Intracomm) -> Communicator:
        made = Communicator.__new__(Communicator)
        made._start(own, self._timeout, crowded=self.oversubscribed)
        return made

    def _meet(self, function: str) -> None:
        """Wait for all ranks: unlike MPI's own calls, a barrier fails when one does not come."""
        self._core.require_open(function)
        self.barrier()


_world: Communicator | None = None


def world() -> Communicator:
    """Return the communicator of all ranks of the program.

    Collective when it is called first, and after the communicator was closed; the same object in
    between.
    """
    global _world
    if _world is None or _world.closed:
        _world = Communicator(MPI.COMM_WORLD)
    return _world


@contextmanager
def _duplicate(comm: MPI.Intracomm) -> Iterator[MPI.Intracomm]:
    """Duplicate a communicator for a while, to call mpi4py's functions with objects. Collective.

    These leave something on it that MPI calls mpi4py back for when it is freed, which takes a lock.
    The garbage collector may free a `Communicator` anywhere, so also where mpi4py allocates while
    it holds that lock, be it for pycoll or for the program: nothing may be left there.
    """
    made = comm.Dup()
    try:
        yield made
    finally:
        made.Free()


def _timeout_in_seconds(given: float | None) -> float:
    text = os.environ.get("PYCOLL_TIMEOUT", str(DEFAULT_TIMEOUT)) if given is None else given
    try:
        seconds = float(text)
    except (TypeError, ValueError):
        seconds = -1.0
    if not seconds > 0:
        source = "PYCOLL_TIMEOUT" if given is None else "'timeout'"
        raise ValueError(f"{source} is {text!r}; it must be a number of seconds above 0")
    return seconds


# Before mpi4py ends MPI: no thread may be inside MPI then.
atexit.register(_core.stop_progress)
