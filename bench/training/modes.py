"""The ways to train that are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Mode:
    """A way to spread a run over ranks.

    Attributes
    ----------
    label : str
        For people.
    spread : callable
        From the number of ranks to the fields of `Parallelism`.
    settings : dict
        Of the run.
    fits : callable
        Whether there is such a run on so many ranks.
    """

    label: str
    spread: Callable[[int], dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)
    fits: Callable[[int], bool] = lambda ranks: True


def _even(ranks: int) -> bool:
    return ranks % 2 == 0


MODES = {
    "dp": Mode("data parallel", lambda ranks: {}),
    "zero": Mode("ZeRO-1", lambda ranks: {}, {"zero": 1}, lambda ranks: ranks > 1),
    "tp": Mode("dp x tensor 2", lambda ranks: {"tp": 2}, {}, _even),
    "pp": Mode("dp x pipeline 2", lambda ranks: {"pp": 2}, {"micro_batches": 4}, _even),
    "hybrid": Mode(
        "dp x tp 2 x pp 2",
        lambda ranks: {"tp": 2, "pp": 2},
        {"micro_batches": 4, "zero": 1},
        lambda ranks: ranks % 4 == 0,
    ),
}
#: The peer: PyTorch's DistributedDataParallel over Gloo.
PEER = "ddp"


def modes_on(ranks: int) -> list[str]:
    """Return the modes that there are on so many ranks."""
    return [name for name, mode in MODES.items() if mode.fits(ranks)]
