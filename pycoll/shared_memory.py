"""Memory that the ranks of one node share."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from mpi4py import MPI

from pycoll import _core

#: Set to 0, ranks of one node talk through MPI, too.
SWITCH = "PYCOLL_SHARED_MEMORY"
#: Set to 0, the kernel copies nothing between the arrays of ranks that are not registered.
CMA_SWITCH = "PYCOLL_CMA"
#: Set to 0, NumPy goes on to make arrays in memory of the process alone.
NUMPY_SWITCH = "PYCOLL_SHARE_NUMPY"


@dataclass(frozen=True)
class Node:
    """What the ranks of a node share for one communicator.

    Attributes
    ----------
    segment : Segment
        Memory that all of them have attached.
    ranks : list of int
        Their numbers in the communicator.
    processes : list of int
        Their process numbers.
    copies_across : bool
        Whether the kernel copies between the arrays of any two of them (cross memory attach).
    """

    segment: _core.Segment
    ranks: list[int]
    processes: list[int]
    copies_across: bool


def share_node(comm: MPI.Intracomm, local: MPI.Intracomm) -> Node | None:
    """Share memory among the ranks of a node. Collective over ``local``.

    From then on NumPy makes arrays of 16 KiB and more in registered memory, for the context (see
    `contextvars`) that called this; not if PYCOLL_SHARE_NUMPY is 0, nor where the program has set
    an allocator of its own (NEP 49).

    Returns
    -------
    Node or None
        None where there is one rank only, where PYCOLL_SHARED_MEMORY is 0, and where the system
        does not let the ranks share memory; then they talk through MPI.
    """
    # A rank that is alone on its node has stages, too: those of other nodes count on it.
    wanted = comm.size > 1 and os.environ.get(SWITCH, "1") != "0"
    if not local.allreduce(wanted, op=MPI.LAND):
        return None
    segment = None
    if local.rank == 0:
        with suppress(OSError):
            segment = _core.Segment.create(local.size)
    name = local.bcast(segment.name if segment is not None else None)
    if name is None:
        return None
    if segment is None:
        with suppress(OSError):  # another user's, or out of reach in a container
            segment = _core.Segment.attach(*name)
    attached = local.allreduce(segment is not None, op=MPI.LAND)
    if not attached or segment is None:
        return None
    if local.rank == 0:
        segment.close_name()
    if local.size > 1 and os.environ.get(NUMPY_SWITCH, "1") != "0":
        _core.share_numpy_arrays()
    probes = local.allgather(_core.cma_probe())
    wanted = os.environ.get(CMA_SWITCH, "1") != "0"
    able = wanted and all(_core.is_across(*probe) for probe in probes)
    return Node(
        segment,
        ranks=local.allgather(comm.rank),
        processes=[process for process, _, _ in probes],
        copies_across=local.allreduce(able, op=MPI.LAND),
    )


def empty(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return a new array in registered memory; what it holds is undefined.

    Raises
    ------
    ValueError, TypeError
        As `numpy.empty` does, for a shape or dtype that makes no sense.
    """
    wanted = np.dtype(dtype)
    if wanted.hasobject:
        raise TypeError(f"'dtype' is {wanted}; objects cannot lie in shared memory")
    # NumPy checks the shape, and its limits; the strides of nothing take no memory.
    like = np.broadcast_to(np.empty((), wanted), shape)
    memory = _core.allocate(like.nbytes)
    return memory.view(wanted).reshape(like.shape) if like.size else np.empty(like.shape, wanted)


def private(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return a new array of zeros that no other rank can see, as other libraries' arrays are."""
    wanted = np.dtype(dtype)
    like = np.broadcast_to(np.empty((), wanted), shape)
    memory = np.frombuffer(mmap.mmap(-1, max(like.nbytes, 1)), np.uint8, like.nbytes)
    return memory.view(wanted).reshape(like.shape)
