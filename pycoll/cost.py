"""What messages, folds and signals cost: the numbers by which ``algorithm="auto"`` chooses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pycoll import _core
from pycoll._core import CostModel, Link


@dataclass(frozen=True)
class Costs:
    """The numbers of a cost model; by default as measured (see the comments).

    They are seconds, but for ``cached``.

    Attributes
    ----------
    intra_alpha, inter_alpha : float
        Per message, inside a node and between nodes.
    intra_beta, inter_beta : float
        Per byte of a message. Inside a node it has ``fetch`` in it, twice: the MPI library copies a
        message to memory that both ranks see, and from there.
    gamma, copy : float
        Per byte folded, and per byte copied.
    fetch : float
        So much more per byte of memory shared by ranks that one on another core has used last: its
        way from core to core.
    signal : float
        From a signal in shared memory to the end of the wait for it, where ranks have a core each.
    wake : float
        So much more for each rank of a core, where ranks share cores.
    cma_alpha, cma_beta : float
        So much more for each copy from or to an array of another rank that is not registered, which
        the kernel makes (cross memory attach), and per byte of it.
    cached : float
        A number of bytes: where the ranks of a node together read and write fewer in a call for
        what they copy to their outputs, that is faster through the caches than past them. By
        default as usual with the processor.
    """

    # Measured between processes of one host (2 cores of an AMD EPYC, virtual; MPICH 5, Open MPI 5):
    #   alpha: one exchange, `mpirun -n 2 python -m pycoll.bench all_reduce -b 64 -e 64 --algorithm
    #          recursive_doubling`, takes 2.3 us (MPICH) and 2.4 us (Open MPI)
    #   beta:  the same with `-b 256K -e 256K --chunk 1G` takes 54 us, which are 5 GB/s. On the Xeon
    #          below it takes 33 to 77 us, but longer messages are slower: a reduce_scatter of
    #          16 MiB in a ring of 2 ranks, each of which sends half, takes 3.15 ms.
    # With 5 GB/s, what auto chose for all_reduce on the EPYC took 1.08 times as long as the best
    # algorithm and chunk over messages (geometric mean over 64 B to 64 MiB, 2, 4 and 8 ranks, both
    # MPIs). With a smaller alpha or slower folding it was 1.10 times, up to 1.4 at 1 MiB: messages
    # were cut too finely.
    intra_alpha: float = 2.5e-6
    intra_beta: float = 1 / 2.5e9
    # A 25 Gbit/s network: assumed, since nothing was measured between hosts yet.
    inter_alpha: float = 15e-6
    inter_beta: float = 1 / 2.5e9
    # Measured of csrc/device/host/reduce.hpp with AVX-512 on the same machine, float32, bytes of
    # the result: folds 64 to 74 GB/s, copies 105 to 142 GB/s for 64 to 256 KiB; 47 and 80 GB/s for
    # 1 MiB; 15 and 34 GB/s for 16 MiB, beyond the cache. What was just received is in the cache,
    # what it is folded with often is not. The direct all-reduce of 8 MiB between 8 ranks folds and
    # copies 41 GB/s on each core.
    gamma: float = 1 / 40e9
    copy: float = 1 / 40e9
    # On 2 cores of an Intel Xeon (Emerald Rapids, virtual) an all-reduce in one shot took 6.0 us
    # longer for 32 KiB than for 8 KiB on 2 ranks, 20 on 4, 65 on 8; with this, 6.1, 20 and 69 are
    # predicted. On the AMD EPYC above it is less: 24 us from 32 to 64 KiB on 8 ranks.
    fetch: float = 1 / 10e9
    # A direct all-reduce of 8 B between 2 ranks (two rounds of signals) takes 1.1 us more than one
    # in one shot (one round); a turn of a staged all-reduce of 8 MiB in chunks of 16 KiB takes
    # 1.7 us more than the copying and folding in it.
    signal: float = 0.7e-6
    # On 2 cores, an all-reduce of 1 KiB takes 6.0 us in one shot and 12.5 us staged (two rounds of
    # signals more) between 4 ranks, 16.9 and 35.9 us between 8.
    wake: float = 2e-6
    # Between 2 cores of that Xeon `tune` measures 0.4 us and 30 GB/s. Among ranks that share cores
    # it is more: an all-reduce of 256 KiB on 8 ranks takes 1.5 times as long by the kernel as
    # through the stages, and with 0.4 us one of 64 KiB would go that way.
    cma_alpha: float = 1e-6
    cma_beta: float = 1 / 30e9
    cached: float = field(default_factory=lambda: float(_core.most_cached()))

    def model(self, nodes: Sequence[int] = (), cores_per_node: int = 0) -> CostModel:
        """Return the model with these costs; see `default_model`."""
        # In a message there is a copy at least.
        beta = max(self.intra_beta - 2 * self.fetch, self.copy)
        return CostModel(
            intra_node=Link(alpha=self.intra_alpha, beta=beta),
            inter_node=Link(alpha=self.inter_alpha, beta=self.inter_beta),
            gamma=self.gamma,
            copy=self.copy,
            fetch=self.fetch,
            signal=self.signal,
            wake=self.wake,
            cma=Link(alpha=self.cma_alpha, beta=self.cma_beta),
            takes_lines_over=_core.takes_lines_over(),
            cached=self.cached,
            nodes=list(nodes),
            cores_per_node=cores_per_node,
        )


#: The names of all costs.
COSTS = tuple(one.name for one in dataclasses.fields(Costs))


def costs_from(found: Any) -> Costs:
    """Return costs of which some are given by name; the others are as without measurement.

    Raises
    ------
    ValueError
        When there are other names, or values that are no finite numbers from 0.
    """
    if not isinstance(found, dict):
        raise ValueError("the costs are no mapping from names to numbers")
    for name, value in found.items():
        if name not in COSTS:
            raise ValueError(f"there is no cost named {name!r}")
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value < 0:
            raise ValueError(f"cost {name!r} is {value!r}, no finite number from 0")
    return Costs(**found)


def default_model(nodes: Sequence[int] = (), cores_per_node: int = 0) -> CostModel:
    """Return the cost model that is used where nothing was measured.

    Parameters
    ----------
    nodes : sequence of int
        The number of each rank's node; empty when all ranks share one node.
    cores_per_node : int
        Ranks that outnumber these take turns; 0 for one core each.
    """
    return Costs().model(nodes, cores_per_node)
