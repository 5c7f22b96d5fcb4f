"""Which ranks share a node (a host), and how many cores they have to share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mpi4py import MPI

from pycoll.layout import parse_layout


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
    nodes : list of int
        The number of each rank's node; empty when there is one only.
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
    nodes: list[int]
    cores_per_node: int
    oversubscribed: bool


def find_topology(comm: MPI.Intracomm, local: MPI.Intracomm, *, crowded: bool = False) -> Topology:
    """Find out where this rank lives. Collective over ``comm``.

    Parameters
    ----------
    local : MPI.Intracomm
        The ranks of this rank's node: `split_by_node`.
    crowded : bool
        Whether a larger group is known to outnumber the cores: its other ranks go on using them.
    """
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
        nodes=[nodes.index(leader) for leader in leaders] if len(nodes) > 1 else [],
        cores_per_node=comm.allreduce(cores, op=MPI.MIN),
        oversubscribed=crowded or local.size > cores,
    )


@contextmanager
def split_by_node(comm: MPI.Intracomm) -> Iterator[MPI.Intracomm]:
    """Make a communicator of the ranks of each node, for a while. Collective over ``comm``.

    The environment variable PYCOLL_NODES divides the ranks of one machine into several nodes, to
    try out on it what happens between machines: "3+5" puts the first three ranks of the program on
    one node and five on another, "2x4" makes two nodes of four.

    Raises
    ------
    ValueError
        When PYCOLL_NODES makes no sense.
    """
    local = MPI.Intracomm(comm.Split_type(MPI.COMM_TYPE_SHARED))
    try:
        if wanted := os.environ.get("PYCOLL_NODES"):
            nodes = _wanted_nodes(wanted, MPI.COMM_WORLD.size)
            whole = local
            local = MPI.Intracomm(whole.Split(nodes[MPI.COMM_WORLD.rank]))
            whole.Free()
        yield local
    finally:
        local.Free()


def _wanted_nodes(text: str, ranks: int) -> list[int]:
    try:
        return parse_layout(text, ranks)
    except ValueError as error:
        raise ValueError(f"PYCOLL_NODES is {error}") from None


def usable_cores() -> set[int]:
    """Return the numbers of the cores that this process may run on."""
    try:
        return os.sched_getaffinity(0)
    except AttributeError:  # only Linux has it
        return set(range(os.cpu_count() or 1))
