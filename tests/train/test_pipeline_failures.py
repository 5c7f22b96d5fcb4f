"""What the other stages hear when one of them fails: an error in time, never a hang."""

from __future__ import annotations

import re

from launching import Mpirun

PROGRAM = """
import numpy as np
from mpi4py import MPI
import pycoll
from pycoll.train import CrossEntropy, Initializer, Linear, Pipeline

comm = pycoll.world()

class Failing(Linear):
    calls = 0
    def forward(self, x):
        self.calls += 1
        if comm.rank == 1 and self.calls == 2:
            raise ZeroDivisionError("one over nothing")
        return super().forward(x)

    def named_parameters(self):
        return [(f"{comm.rank}.{name}", p) for name, p in super().named_parameters()]

pipeline = Pipeline(
    lambda part: Failing(Initializer(0), 3, 3), 3, comm, CrossEntropy(), micro_batches=4
)
inputs, targets = np.ones((8, 3), np.float32), np.zeros(8, int)
pipeline.clear_gradients()
try:
    pipeline.forward_backward(inputs, targets, 1.0)
except Exception as error:
    print(f"{type(error).__name__}: {error}", flush=True)
MPI.COMM_WORLD.Barrier()
"""


def test_a_stage_that_fails_is_named_by_those_that_wait_for_it(mpirun: Mpirun) -> None:
    done = mpirun(3, "-c", PROGRAM, env={"PYCOLL_TIMEOUT": "1"}, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "ZeroDivisionError: one over nothing" in done.stdout
    for rank in (0, 2):
        found = re.search(rf"TimeoutError: rank {rank}: recv .*", done.stdout)
        assert found, done.stdout
        assert "gave up after 1 s" in found[0]
        assert "from rank 1" in found[0]
