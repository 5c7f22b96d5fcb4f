"""Training with a parameter server: some ranks keep the parameters, the others compute gradients.

Sources: Li et al., "Scaling Distributed Machine Learning with the Parameter Server" (2014); Ho et
al., "More Effective Distributed ML via a Stale Synchronous Parallel Parameter Server" (2013).

>>> ps = ParameterServer(model, comm, SGD, servers=2, learning_rate=0.1, consistency=SSP(4))
>>> if ps.is_server:
...     print(ps.serve())
... else:
...     with ps.working() as worker:
...         for inputs, targets in batches:
...             scores, saved = model.forward(inputs)
...             with worker.pushing():
...                 model.backward(saved, dscores)
"""

from __future__ import annotations

from pycoll.train.ps.compression import Compression, EightBit, TopK
from pycoll.train.ps.consistency import ASP, BSP, SSP, Consistency
from pycoll.train.ps.parameter_server import ParameterServer
from pycoll.train.ps.protocol import RankLostError
from pycoll.train.ps.report import Release, ServerReport
from pycoll.train.ps.worker import Worker

__all__ = [
    "ASP",
    "BSP",
    "SSP",
    "Compression",
    "Consistency",
    "EightBit",
    "ParameterServer",
    "RankLostError",
    "Release",
    "ServerReport",
    "TopK",
    "Worker",
]
