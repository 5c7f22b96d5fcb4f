"""What all ranks of a communicator must know alike to choose alike."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from mpi4py import MPI

from pycoll.cost import Costs
from pycoll.tuning.file import load_costs
from pycoll.tuning.wishes import SWITCH, wishes_in


@dataclass(frozen=True)
class Agreement:
    """By what ``algorithm="auto"`` chooses.

    Attributes
    ----------
    costs : Costs
        As measured on this machine, or else assumed.
    wishes : dict from str to str
        The algorithm that takes the place of auto, by collective: PYCOLL_ALGORITHM.
    """

    costs: Costs
    wishes: dict[str, str] = field(default_factory=dict)


def agree(comm: MPI.Intracomm) -> Agreement:
    """Return what rank 0 finds in its tuning file and in PYCOLL_ALGORITHM. Collective.

    Raises
    ------
    ValueError
        On all ranks, when PYCOLL_ALGORITHM makes no sense.
    """
    found: Agreement | Exception | None = None
    if comm.rank == 0:
        try:
            found = Agreement(load_costs(), wishes_in(os.environ.get(SWITCH, "")))
        except Exception as error:  # a warning, too, may be one: no rank must wait in vain
            found = error
    found = comm.bcast(found)
    if isinstance(found, Exception):
        raise found
    assert found is not None, "rank 0 sent it"
    return found
