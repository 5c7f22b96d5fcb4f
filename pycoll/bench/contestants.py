"""Who carries out a measured call: pycoll with some algorithm, or the MPI library itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI

from pycoll.bench.memory import Array
from pycoll.bench.operands import Operands, Operation
from pycoll.communicator import Communicator


@dataclass(frozen=True)
class Call:
    """Something to measure.

    Attributes
    ----------
    run : callable
        Makes the call once.
    result : array or None
        Where its result is then; None on ranks that get none.
    """

    run: Callable[[], object]
    result: Array | None


@dataclass(frozen=True)
class Choice:
    """The algorithm of a call, with the bytes per pipelined piece (0: whole messages)."""

    algorithm: str
    chunk_bytes: int


#: Collectives whose chunk is always the one that pycoll chooses.
WITHOUT_CHUNKS = ("gather", "scatter", "all_to_all")


def pycoll_call(
    comm: Communicator, operation: Operation, operands: Operands, choice: Choice | None
) -> Call:
    """Return the operation as pycoll carries it out."""
    source, target = operands.input, operands.output
    name = operation.collective
    if name == "barrier":
        return Call(comm.barrier, None)
    if name == "send_recv":
        assert source is not None
        assert target is not None
        return Call(partial(_send_to_next, comm, source, target), target)
    options: dict[str, Any] = {}
    if choice is not None:
        options["algorithm"] = choice.algorithm
        if choice.chunk_bytes and name not in WITHOUT_CHUNKS:
            options["chunk_bytes"] = choice.chunk_bytes
    if operation.op is not None:
        options["op"] = operation.op
    if operation.root is not None:
        options["root"] = operation.root
    if name == "broadcast":
        array = target if source is None else source
        return Call(partial(comm.broadcast, array, **options), array)
    same_size = name in ("all_reduce", "reduce")
    if same_size and operation.in_place:
        return Call(partial(getattr(comm, name), source, **options), target)
    return Call(partial(getattr(comm, name), source, target, **options), target)


def _send_to_next(comm: Communicator, source: Array, target: Array) -> None:
    arriving = comm.recv(target, (comm.rank - 1) % comm.size, async_op=True)
    comm.send(source, (comm.rank + 1) % comm.size)
    arriving.wait()


_MPI_TYPES = {
    "bool": MPI.C_BOOL,
    "int8": MPI.INT8_T,
    "int16": MPI.INT16_T,
    "int32": MPI.INT32_T,
    "int64": MPI.INT64_T,
    "uint8": MPI.UINT8_T,
    "uint16": MPI.UINT16_T,
    "uint32": MPI.UINT32_T,
    "uint64": MPI.UINT64_T,
    "float32": MPI.FLOAT,
    "float64": MPI.DOUBLE,
}
_MPI_OPS = {
    "sum": MPI.SUM,
    "prod": MPI.PROD,
    "min": MPI.MIN,
    "max": MPI.MAX,
    "band": MPI.BAND,
    "bor": MPI.BOR,
    "bxor": MPI.BXOR,
}
_MPI_LOGICAL_OPS = {
    "min": MPI.LAND,
    "max": MPI.LOR,
    "band": MPI.LAND,
    "bor": MPI.LOR,
    "bxor": MPI.LXOR,
}


def mpi_call(comm: MPI.Intracomm, operation: Operation, operands: Operands) -> Call | None:
    """Return the operation as the MPI library carries it out.

    None where MPI has no such type or operation (float16, bfloat16 and avg).
    """
    if operation.op is None:
        return _mpi_move(comm, operation, operands)
    logical = operation.dtype == "bool"
    kind = _MPI_TYPES.get(operation.dtype)
    op = (_MPI_LOGICAL_OPS if logical else _MPI_OPS).get(operation.op)
    if kind is None or op is None:
        return None
    return _mpi_fold(comm, operation, operands, kind, op)


def _mpi_fold(
    comm: MPI.Intracomm, operation: Operation, operands: Operands, kind: MPI.Datatype, op: MPI.Op
) -> Call:
    source = None if operands.input is None else [operands.input, kind]
    target = None if operands.output is None else [operands.output, kind]
    root = operation.root or 0
    in_place = operation.in_place
    match operation.collective:
        case "all_reduce":
            given = MPI.IN_PLACE if in_place else source
            return Call(partial(comm.Allreduce, given, target, op), operands.output)
        case "reduce":
            given = MPI.IN_PLACE if in_place and target is not None else source
            return Call(partial(comm.Reduce, given, target, op, root), operands.output)
    if not in_place:
        return Call(partial(comm.Reduce_scatter_block, source, target, op), operands.output)
    # MPI leaves the block of every rank at the start of its array, not in its place.
    assert operands.input is not None
    first_block = operands.input[: operands.count]
    return Call(partial(comm.Reduce_scatter_block, MPI.IN_PLACE, source, op), first_block)


def _mpi_move(comm: MPI.Intracomm, operation: Operation, operands: Operands) -> Call:
    def as_bytes(array: Array | None) -> list[Any] | None:
        return None if array is None else [array.view(np.uint8), MPI.BYTE]

    source, target = as_bytes(operands.input), as_bytes(operands.output)
    root = operation.root or 0
    in_place = operation.in_place and source is not None and target is not None
    given = MPI.IN_PLACE if in_place else source
    result = operands.output
    match operation.collective:
        case "barrier":
            return Call(comm.Barrier, None)
        case "broadcast":
            array = operands.input if result is None else result
            return Call(partial(comm.Bcast, as_bytes(array), root), array)
        case "all_gather":
            return Call(partial(comm.Allgather, given, target), result)
        case "gather":
            return Call(partial(comm.Gather, given, target, root), result)
        case "scatter":
            kept = MPI.IN_PLACE if in_place else target
            return Call(partial(comm.Scatter, source, kept, root), result)
        case "all_to_all":
            return Call(partial(comm.Alltoall, source, target), result)
    following, preceding = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    exchange = partial(comm.Sendrecv, source, following, 0, target, preceding, 0)
    return Call(exchange, result)
