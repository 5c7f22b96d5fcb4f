"""NCCL as another contestant: by CuPy's binding, or by torch.distributed.

Its calls only put work on the current stream: the clock waits for it at the end of a turn.
"""

from __future__ import annotations

import importlib
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from mpi4py import MPI

from pycoll.bench.contestants import Call
from pycoll.bench.memory import Array, Memory
from pycoll.bench.operands import Operands, Operation
from pycoll.bench.option_error import OptionError


class Nccl(Protocol):
    """NCCL among the ranks of a communicator."""

    def call(self, operation: Operation, operands: Operands) -> Call | None:
        """Return the operation as NCCL carries it out; None where it cannot."""

    def close(self) -> None:
        """Give everything back. Collective."""


def make_nccl(comm: MPI.Intracomm, memory: Memory) -> Nccl:
    """Return NCCL for the arrays of a library. Collective.

    Raises
    ------
    OptionError
        On all ranks, when ranks share a GPU, which NCCL does not do, or it is not installed.
    """
    places = comm.allgather((socket.gethostname(), memory.number))
    if len(set(places)) < len(places):
        raise OptionError(
            f"--against nccl needs a GPU for each rank; {len(places)} ranks have {len(set(places))}"
        )
    return CupyNccl(comm) if memory.library == "cupy" else TorchNccl(comm, memory.number)


class CupyNccl:
    """By ``cupy.cuda.nccl``, which takes pointers.

    Source: NCCL's user guide, "Point-to-point communication", for what it has no call of its own.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        cupy = importlib.import_module("cupy")
        nccl = importlib.import_module("cupy.cuda.nccl")
        available = comm.allreduce(bool(getattr(nccl, "available", False)), MPI.LAND)
        if not available:
            raise OptionError("--against nccl: CuPy finds no NCCL: pip install nvidia-nccl-cu12")
        unique = comm.bcast(nccl.get_unique_id() if comm.rank == 0 else None)
        self._rank, self._size = comm.rank, comm.size
        self._comm = nccl.NcclCommunicator(comm.size, unique, comm.rank)
        self._nccl: Any = nccl
        self._stream: Callable[[], int] = lambda: int(cupy.cuda.get_current_stream().ptr)

    def close(self) -> None:
        """Give everything back."""
        self._comm.destroy()

    def call(self, operation: Operation, operands: Operands) -> Call | None:
        """Return the operation as NCCL carries it out; None where it cannot."""
        kind = self._kind(operation)
        fold = self._fold(operation)
        if kind is None or (operation.op is not None and fold is None):
            return None
        comm, stream, count = self._comm, self._stream(), operation.count
        source, target = operands.input, operands.output
        to, at = _pointer(source), _pointer(target)
        root = operation.root or 0
        run: Callable[[], object]
        match operation.collective:
            case "all_reduce":
                run = partial(comm.allReduce, to, at, count, kind, fold, stream)
            case "reduce":
                run = partial(comm.reduce, to, at, count, kind, fold, root, stream)
            case "broadcast":
                pointer = to or at
                run = partial(comm.broadcast, pointer, pointer, count, kind, root, stream)
                target = source if target is None else target
            case "reduce_scatter":
                run = partial(comm.reduceScatter, to, at, count, kind, fold, stream)
            case "all_gather":
                run = partial(comm.allGather, to, at, count, kind, stream)
            case "barrier":
                return None
            case _:
                sends, receives = self._messages(operation, source, target)
                run = partial(self._exchange, sends, receives, kind, stream)
        return Call(run, target)

    def _messages(
        self, operation: Operation, source: Array | None, target: Array | None
    ) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
        """Return (pointer, count, peer) of what is sent, and of what is received."""
        count, everybody, root = operation.count, range(self._size), operation.root
        if operation.collective == "send_recv":
            following, preceding = (self._rank + 1) % self._size, (self._rank - 1) % self._size
            return [(_pointer(source), count, following)], [(_pointer(target), count, preceding)]
        scatters = operation.collective in ("scatter", "all_to_all")
        gathers = operation.collective in ("gather", "all_to_all")
        sends = [] if source is None else [*(everybody if scatters else [root or 0])]
        receives = [] if target is None else [*(everybody if gathers else [root or 0])]
        return (
            [
                (_pointer(source, i * count if scatters else 0), count, peer)
                for i, peer in enumerate(sends)
            ],
            [
                (_pointer(target, i * count if gathers else 0), count, peer)
                for i, peer in enumerate(receives)
            ],
        )

    def _exchange(
        self,
        sends: list[tuple[int, int, int]],
        receives: list[tuple[int, int, int]],
        kind: int,
        stream: int,
    ) -> None:
        self._nccl.groupStart()
        for pointer, count, peer in sends:
            self._comm.send(pointer, count, kind, peer, stream)
        for pointer, count, peer in receives:
            self._comm.recv(pointer, count, kind, peer, stream)
        self._nccl.groupEnd()

    def _kind(self, operation: Operation) -> int | None:
        # Whole numbers of 16 bits have no name in NCCL; moved, they are bytes, but then counts
        # would be others.
        name = "UINT8" if operation.dtype == "bool" and operation.op is None else operation.dtype
        return getattr(self._nccl, f"NCCL_{name.upper()}", None)

    def _fold(self, operation: Operation) -> int | None:
        return getattr(self._nccl, f"NCCL_{(operation.op or '').upper()}", None)


class TorchNccl:
    """By ``torch.distributed``, in the forms that it has: it folds in place only."""

    def __init__(self, comm: MPI.Intracomm, gpu: int) -> None:
        torch = importlib.import_module("torch")
        self._torch: Any = torch
        self._dist: Any = importlib.import_module("torch.distributed")
        available = self._dist.is_available() and self._dist.is_nccl_available()
        if not comm.allreduce(available, MPI.LAND):
            raise OptionError("--against nccl: this PyTorch was built without NCCL")
        self._rank, self._size = comm.rank, comm.size
        where = comm.bcast((socket.gethostname(), _free_port()) if comm.rank == 0 else None)
        self._dist.init_process_group(
            "nccl",
            init_method=f"tcp://{where[0]}:{where[1]}",
            rank=comm.rank,
            world_size=comm.size,
            device_id=torch.device("cuda", gpu),
        )

    def close(self) -> None:
        """Give everything back."""
        self._dist.destroy_process_group()

    def call(self, operation: Operation, operands: Operands) -> Call | None:
        """Return the operation as NCCL carries it out; None where it cannot."""
        dist, source, target = self._dist, operands.input, operands.output
        fold = getattr(dist.ReduceOp, (operation.op or "sum").upper(), None)
        bits = operation.op in ("band", "bor", "bxor")  # which only Gloo and MPI have there
        unknown = operation.dtype in ("uint16", "uint32", "uint64", "int16")
        if fold is None or bits or unknown or (operation.dtype == "bool" and operation.op):
            return None
        root = operation.root or 0
        run: Callable[[], object]
        match operation.collective:
            case "all_reduce" if operation.in_place:
                run = partial(dist.all_reduce, source, op=fold)
            case "reduce" if operation.in_place:
                run = partial(dist.reduce, source, root, op=fold)
            case "broadcast":
                target = source if target is None else target
                run = partial(dist.broadcast, target, root)
            case "reduce_scatter":
                run = partial(dist.reduce_scatter_tensor, target, source, op=fold)
            case "all_gather":
                run = partial(dist.all_gather_into_tensor, target, source)
            case "gather":
                run = partial(dist.gather, source, self._blocks(target), root)
            case "scatter":
                run = partial(dist.scatter, target, self._blocks(source), root)
            case "all_to_all":
                run = partial(dist.all_to_all_single, target, source)
            case "send_recv":
                run = partial(self._send_to_next, source, target)
            case _:
                return None
        return Call(run, target)

    def _blocks(self, array: Array | None) -> list[Array] | None:
        return None if array is None else list(array.chunk(self._size))

    def _send_to_next(self, source: Array, target: Array) -> None:
        following, preceding = (self._rank + 1) % self._size, (self._rank - 1) % self._size
        operations = [
            self._dist.P2POp(self._dist.isend, source, following),
            self._dist.P2POp(self._dist.irecv, target, preceding),
        ]
        for work in self._dist.batch_isend_irecv(operations):
            work.wait()  # orders the current stream after it


def _pointer(array: Array | None, offset: int = 0) -> int:
    """Return the address of an element; 0 for an array that a rank does not have."""
    if array is None:
        return 0
    return int(array.data.ptr) + offset * int(array.itemsize)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])
