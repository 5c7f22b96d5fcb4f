"""What all ranks of a communicator must know alike to act alike."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from mpi4py import MPI

from pycoll.cost import Costs
from pycoll.topology import Topology
from pycoll.tuning.file import load_costs
from pycoll.tuning.situation import Situation
from pycoll.tuning.wishes import SWITCH, wishes_in

#: Set to 1, ranks that share no memory see, too, whether all make the same calls.
CHECK = "PYCOLL_CHECK"


@dataclass(frozen=True)
class Agreement:
    """By what ``algorithm="auto"`` chooses, and whether calls are checked.

    Attributes
    ----------
    costs : Costs
        As measured on this machine, or else assumed.
    wishes : dict from str to str
        The algorithm that takes the place of auto, by collective: PYCOLL_ALGORITHM.
    checks_calls : bool
        Whether ranks that share no memory show each other what they call: PYCOLL_CHECK.
    """

    costs: Costs
    wishes: dict[str, str] = field(default_factory=dict)
    checks_calls: bool = False


def agree(comm: MPI.Intracomm, topology: Topology) -> Agreement:
    """Return what rank 0 finds in its tuning file and its environment. Collective.

    Raises
    ------
    ValueError
        On all ranks, when PYCOLL_ALGORITHM or PYCOLL_CHECK makes no sense.
    """
    found: Agreement | Exception | None = None
    if comm.rank == 0:
        try:
            situation = Situation(comm.size, topology.nodes, topology.cores_per_node)
            wishes = wishes_in(os.environ.get(SWITCH, ""))
            found = Agreement(load_costs(situation), wishes, _is_on(CHECK))
        except Exception as error:  # a warning, too, may be one: no rank must wait in vain
            found = error
    found = comm.bcast(found)
    if isinstance(found, Exception):
        raise found
    assert found is not None, "rank 0 sent it"
    return found


def _is_on(variable: str) -> bool:
    text = os.environ.get(variable, "0")
    if text not in ("0", "1"):
        raise ValueError(f"{variable} is {text!r}; it must be 0 or 1")
    return text == "1"
