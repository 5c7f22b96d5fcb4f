"""Schedules before they run: what each rank would do, proven, priced, printed and drawn.

>>> from pycoll.planning import plan
>>> print(plan("all_reduce", ranks=4, count=1024, algorithm="ring").table(rank=0))
"""

from pycoll._core import CostModel, Link
from pycoll.planning.candidate import Candidate, candidates
from pycoll.planning.plans import Plan, plan

__all__ = ["Candidate", "CostModel", "Link", "Plan", "candidates", "plan"]
