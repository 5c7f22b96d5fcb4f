"""What messages and folds cost: the numbers by which ``algorithm="auto"`` chooses."""

from __future__ import annotations

from pycoll._core import CostModel, Link

# Measured between processes of one host (2 cores of an AMD EPYC, virtual; MPICH 5, Open MPI 5):
#   alpha: one exchange, `mpirun -n 2 python -m pycoll.bench all_reduce -b 64 -e 64 --algorithm
#          recursive_doubling`, takes 2.3 us (MPICH) and 2.4 us (Open MPI)
#   beta:  the same with `-b 256K -e 256K --chunk 1G` takes 54 us
# With these, what auto chose for all_reduce took 1.08 times as long as the best of all algorithms
# and chunks (geometric mean over 64 B to 64 MiB, 2, 4 and 8 ranks, both MPIs). With a smaller alpha
# or slower folding it was 1.10 times, up to 1.4 at 1 MiB: messages were cut too finely.
INTRA_NODE = Link(alpha=2.5e-6, beta=1 / 5e9)
# A 25 Gbit/s network: assumed, since nothing was measured between hosts yet.
INTER_NODE = Link(alpha=15e-6, beta=1 / 2.5e9)
# Measured of csrc/device/host/reduce.hpp with AVX-512 on the same machine, float32, bytes of the
# result: folds 64 to 74 GB/s, copies 105 to 142 GB/s for 64 to 256 KiB; 47 and 80 GB/s for 1 MiB;
# 15 and 34 GB/s for 16 MiB, beyond the cache. What was just received is in the cache, what it is
# folded with often is not.
SECONDS_PER_FOLDED_BYTE = 1 / 40e9
SECONDS_PER_COPIED_BYTE = 1 / 40e9


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
