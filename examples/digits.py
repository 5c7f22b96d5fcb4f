"""Classify handwritten digits in any data-parallel way, with a straggler if you like.

    mpirun -n 4 python examples/digits.py --mode ssp --straggler 5

Modes are data-parallel, local-sgd, and with a parameter server bsp, asp and ssp. With --straggler 5
rank 0 computes each step five times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import pycoll
from pycoll.train import (
    MLP,
    SGD,
    CrossEntropy,
    DataParallel,
    Initializer,
    Layer,
    LocalSGD,
    MLPConfig,
    RankedParser,
    RefusedError,
    abort_job_on_error,
    shard,
)
from pycoll.train.data.digits import Images, load_digits
from pycoll.train.ps import ASP, BSP, SSP, EightBit, ParameterServer, ServerReport, TopK

BATCH = 64  # of all ranks that compute together
LEARNING_RATE = 0.5
CONSISTENCY = {"bsp": BSP(), "asp": ASP(), "ssp": SSP(4)}
SHAPE = MLPConfig((64, 64, 10))  # pixels, hidden, digits
COMPRESSION = {"none": None, "top-k": TopK(0.05), "8-bit": EightBit()}


@dataclass
class Job:
    """What one rank does."""

    comm: pycoll.Communicator
    model: Layer
    steps: int
    straggler: int = 1

    def batches(self, ranks: int) -> Iterator[Images]:
        """Yield this rank's share of each batch; all ranks draw the same ones."""
        images, _ = load_digits()
        generator = np.random.default_rng(0)
        mine = shard(BATCH, self.comm.rank, ranks)
        for _ in range(self.steps):
            rows = generator.integers(len(images.classes), size=BATCH)[mine]
            yield Images(images.pixels[rows], images.classes[rows])

    def forward(self, images: Images, samples: int) -> tuple[Any, Any]:
        """Return what backward needs, for the mean loss of so many samples."""
        for _ in range(self.straggler if self.comm.rank == 0 else 1):
            scores, saved = self.model.forward(images.pixels)
            _, saved_loss = CrossEntropy().forward(scores, images.classes)
        return saved, CrossEntropy().backward(saved_loss, 1 / samples)

    def accuracy(self) -> float:
        """Return the share of the digits not seen before that rank 0's model knows."""
        _, unseen = load_digits()
        scores, _ = self.model.forward(unseen.pixels)
        right = np.array([np.mean(scores.argmax(axis=-1) == unseen.classes)])
        return float(self.comm.broadcast(right, root=0)[0])


def with_parameter_server(job: Job, **options: Any) -> ServerReport | None:
    """Train the model on the workers; servers return what they have seen."""
    ps = ParameterServer(job.model, job.comm, SGD, learning_rate=LEARNING_RATE, **options)
    if ps.is_server:
        return ps.serve()
    with ps.working() as worker:
        for images in job.batches(len(ps.workers)):
            saved, dscores = job.forward(images, BATCH)
            with worker.pushing():
                job.model.backward(saved, dscores)
    return None


def with_data_parallel(job: Job) -> None:
    """Train the model on all ranks."""
    parallel = DataParallel(job.model, job.comm)
    optimizer = SGD(job.model.named_parameters())
    for images in job.batches(job.comm.size):
        saved, dscores = job.forward(images, BATCH)
        with parallel.reducing():
            job.model.backward(saved, dscores)
        optimizer.step(LEARNING_RATE)


def with_local_sgd(job: Job, every: int = 8) -> None:
    """Train a model on each rank, and bring them together after every few steps."""
    local = LocalSGD(job.model, job.comm, every)
    optimizer = SGD(job.model.named_parameters())
    for images in job.batches(job.comm.size):
        saved, dscores = job.forward(images, len(images.classes))
        job.model.clear_gradients()
        job.model.backward(saved, dscores)
        optimizer.step(LEARNING_RATE)
        local.end_step()
    local.synchronize()


def main() -> None:
    """Read the command line, train, and say how well."""
    comm = pycoll.world()
    parser = RankedParser(comm, description=__doc__)
    modes = ("data-parallel", "local-sgd", *CONSISTENCY)
    parser.add_argument("--mode", choices=modes, default="ssp", help="way of training")
    parser.add_argument("--steps", type=int, default=400, help="steps of each rank")
    parser.add_argument("--straggler", type=int, default=1, help="how slow rank 0 is")
    parser.add_argument("--servers", type=int, default=1, help="ranks that are servers")
    parser.add_argument("--compression", choices=COMPRESSION, default="none", help="of pushes")
    chosen = parser.parse_args()
    job = Job(comm, MLP(SHAPE, Initializer(seed=0)), chosen.steps, max(chosen.straggler, 1))
    with abort_job_on_error(comm):
        if chosen.mode == "data-parallel":
            with_data_parallel(job)
        elif chosen.mode == "local-sgd":
            with_local_sgd(job)
        else:
            try:
                report = with_parameter_server(
                    job,
                    servers=chosen.servers,
                    consistency=CONSISTENCY[chosen.mode],
                    compression=COMPRESSION[chosen.compression],
                )
            except RefusedError as error:
                parser.fail(error)
            if report is not None:
                print(f"server rank {comm.rank}: {report}", flush=True)
        accuracy = job.accuracy()
    if comm.rank == 0:
        print(f"{chosen.mode}: {accuracy:.1%} of the unseen digits are right", flush=True)


if __name__ == "__main__":
    main()
