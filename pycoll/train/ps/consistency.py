"""How far workers may be apart, and what they then compute with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Consistency:
    """What a server does with a push, and when it lets the worker go on.

    Attributes
    ----------
    synchronous : bool
        Whether the gradients of one step of all workers are summed and make one update.
    lead : int or None
        How many steps a worker may be ahead of the slowest one when it begins a step; None for
        any number.
    """

    synchronous: bool
    lead: int | None


class BSP(Consistency):
    """Bulk synchronous: one update per step, by the sum of all workers' gradients.

    Equal to data parallelism. The sum is made in the order of the workers, so that runs repeat
    bitwise.

    Source: Valiant, "A Bridging Model for Parallel Computation" (1990).
    """

    def __init__(self) -> None:
        super().__init__(synchronous=True, lead=0)


class ASP(Consistency):
    """Asynchronous: each push is an update of its own, and nobody waits for anybody.

    Source: Recht et al., "Hogwild!: A Lock-Free Approach to Parallelizing Stochastic Gradient
    Descent" (2011), and Dean et al., "Large Scale Distributed Deep Networks" (2012), section 4.1.
    """

    def __init__(self) -> None:
        super().__init__(synchronous=False, lead=None)


class SSP(Consistency):
    """Stale synchronous: as `ASP`, but no worker is more than ``staleness`` steps ahead.

    Parameters
    ----------
    staleness : int
        How many steps the slowest worker may be behind one that begins a step. With 0 all make
        the same number of steps, though, other than with `BSP`, each push is an update.

    Source: Ho et al., "More Effective Distributed ML via a Stale Synchronous Parallel Parameter
    Server" (2013), section 2.
    """

    def __init__(self, staleness: int) -> None:
        if staleness < 0:
            raise ValueError(
                f"staleness must be at least 0, not {staleness}; with ASP() nobody waits"
            )
        super().__init__(synchronous=False, lead=staleness)
