"""Several nodes, which PYCOLL_NODES fakes: see tests/test_shared_memory.py."""

from __future__ import annotations

import os

import numpy as np
import pytest

import pycoll
from pycoll import _core

needs_nodes = pytest.mark.skipif("PYCOLL_NODES" not in os.environ, reason="on one node")


def node_of_each_rank(comm: pycoll.Communicator) -> list[int]:
    return comm.all_gather(np.array([comm.node])).tolist()


@needs_nodes
@pytest.mark.skipif(os.environ.get("PYCOLL_CHECK") == "1", reason="it counts the check's bytes too")
@pytest.mark.parametrize("collective", [name for name in _core.COLLECTIVES if name != "barrier"])
@pytest.mark.parametrize("count", [3, 1000, 100_003])
def test_bytes_between_nodes_are_those_of_the_price(
    comm: pycoll.Communicator, collective: str, count: int
) -> None:
    """What all ranks send in a hierarchical call is what the schedules say, to the byte."""
    nodes = node_of_each_rank(comm)
    _, chunk_bytes = comm._core.chosen(collective, count, "float32", algorithm="hierarchical")
    schedules = [
        _core.build(
            "hierarchical",
            _core.Request(
                collective,
                rank=rank,
                size=comm.size,
                count=count,
                chunk=chunk_bytes // 4,
                nodes=nodes,
            ),
        )
        for rank in range(comm.size)
    ]
    price = _core.price(schedules, 4, _core.CostModel())
    takes_blocks = collective in ("reduce_scatter", "scatter", "all_to_all")
    array = np.ones((comm.size, count) if takes_blocks else count, np.float32)
    arrays = [array, np.empty(count, np.float32)] if collective == "scatter" else [array]
    before = comm.sent_bytes
    getattr(comm, collective)(*arrays, algorithm="hierarchical")
    sent = np.array([comm.sent_bytes - before])
    assert comm.all_reduce(sent)[0] == price.total_bytes
    if comm.node_count == 1:
        assert sent[0] == 0


@needs_nodes
def test_nothing_is_sent_inside_a_node(comm: pycoll.Communicator) -> None:
    inside = comm.split(comm.node)
    assert inside is not None
    assert inside.size == comm.local_size
    inside.all_reduce(np.ones(100_000, np.float32))
    inside.barrier()
    assert inside.sent_bytes == 0


@needs_nodes
def test_the_topology_is_the_one_asked_for(comm: pycoll.Communicator) -> None:
    nodes = node_of_each_rank(comm)
    assert comm.node_count == len(set(nodes))
    assert comm.local_size == nodes.count(comm.node)
    assert "between nodes" in comm.transport or comm.local_size == 1
