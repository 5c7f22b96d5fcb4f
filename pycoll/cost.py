"""What messages and folds cost: the numbers by which ``algorithm="auto"`` chooses."""

from __future__ import annotations

from pycoll._core import CostModel, Link

# Measured with MPI messages between two processes of one host (2-core x86 virtual machine,
# MPICH 5 and Open MPI 5): `python -m pycoll.bench send_recv` and `... all_reduce` at 2 ranks.
INTRA_NODE = Link(alpha=1.5e-6, beta=1 / 5e9)
# A 25 Gbit/s network: assumed, since nothing was measured between hosts yet.
INTER_NODE = Link(alpha=15e-6, beta=1 / 2.5e9)
SECONDS_PER_FOLDED_BYTE = 1 / 8e9
SECONDS_PER_COPIED_BYTE = 1 / 8e9


def default_model(ranks_per_node: int = 0, cores_per_node: int = 0) -> CostModel:
    """Return the cost model that is used where nothing was measured.

    Parameters
    ----------
    ranks_per_node : int
        Rank r lives on node ``r // ranks_per_node``; 0 when all ranks share one node.
    cores_per_node : int
        Ranks that outnumber these take turns; 0 for one core each.
    """
    return CostModel(
        intra_node=INTRA_NODE,
        inter_node=INTER_NODE,
        gamma=SECONDS_PER_FOLDED_BYTE,
        copy=SECONDS_PER_COPIED_BYTE,
        ranks_per_node=ranks_per_node,
        cores_per_node=cores_per_node,
    )
