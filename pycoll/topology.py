"""Which ranks share a node (a host), and how many cores they have to share."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mpi4py import MPI


@dataclass(frozen=True)
class Topology:
    """Where one rank of a communicator lives.

    Attributes
    ----------
    local_rank, local_size : int
        Number of this rank among the ranks of its node, and how many these are.
    node, node_count : int
        Number of this rank's node (nodes are numbered by their lowest rank), and how many nodes
        there are.
    ranks_per_node : int
        Equal on all ranks: the length of the runs of consecutive ranks that share a node; 0 when
        there is one node only, or the ranks are not laid out so.
    cores_per_node : int
        Equal on all ranks: cores that the ranks of a node may use, the least of all nodes.
    oversubscribed : bool
        Whether the ranks of this node outnumber the cores they may use, or those of the
        communicator that this one was made from do.
    """

    local_rank: int
    local_size: int
    node: int
    node_count: int
    ranks_per_node: int
    cores_per_node: int
    oversubscribed: bool


def find_topology(comm: MPI.Intracomm, *, crowded: bool = False) -> Topology:
    """Find out with whom this rank shares its node. Collective over ``comm``.

    Parameters
    ----------
    crowded : bool
        Whether a larger group is known to outnumber the cores: its other ranks go on using them.
    """
    local = comm.Split_type(MPI.COMM_TYPE_SHARED)
    try:
        # Some launchers bind each rank to a core of its own: together they have all of these.
        cores = len(set().union(*local.allgather(usable_cores())))
        leader = local.bcast(comm.rank)
        leaders = comm.allgather(leader)
        nodes = sorted(set(leaders))
        return Topology(
            local_rank=local.rank,
            local_size=local.size,
            node=nodes.index(leader),
            node_count=len(nodes),
            ranks_per_node=_run_length(leaders),
            cores_per_node=comm.allreduce(cores, op=MPI.MIN),
            oversubscribed=crowded or local.size > cores,
        )
    finally:
        local.Free()


def usable_cores() -> set[int]:
    """Return the numbers of the cores that this process may run on."""
    try:
        return os.sched_getaffinity(0)
    except AttributeError:  # only Linux has it
        return set(range(os.cpu_count() or 1))


def _run_length(leaders: list[int]) -> int:
    size = len(leaders)
    length = leaders.count(leaders[0])
    regular = all(leaders[rank] == rank - rank % length for rank in range(size))
    return length if regular and length < size else 0
