"""One rank of a run of PyTorch's DistributedDataParallel over Gloo."""

from __future__ import annotations

import statistics
import sys
from datetime import timedelta
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from mpi4py import MPI
from torch import distributed, nn
from torch.nn import functional

from .job import Job, Report
from .text import batches
from .torch_gpt import TorchGPT


def main(job: Job) -> None:
    """Train, and report on rank 0."""
    world = MPI.COMM_WORLD
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{job.results}.meeting",
        rank=world.rank,
        world_size=world.size,
        timeout=timedelta(seconds=60),
    )
    model = TorchGPT(job.config, job.seed)
    parallel = nn.parallel.DistributedDataParallel(model)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": job.options["weight_decay"]},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=job.options["learning_rate"],
        betas=(0.9, 0.99),
    )
    seconds, losses = [], []
    source = batches(job)
    for step in range(job.warmups + job.steps):
        part = source.part(step, world.rank, world.size)
        inputs, targets = torch.from_numpy(part.inputs), torch.from_numpy(part.targets)
        started = perf_counter()
        scores = parallel(inputs)
        total = functional.cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="sum")
        # DDP divides the sum of the gradients by the number of ranks.
        loss = total * (world.size / source.targets_per_step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(perf_counter() - started)
        losses.append(world.allreduce(total.item()) / source.targets_per_step)
    slowest = np.array(world.allgather(seconds)).max(axis=0)[job.warmups :]
    if world.rank == 0:
        report = Report(f"PyTorch {torch.__version__}", statistics.median(slowest), losses)
        report.write(Path(job.results))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Job.from_text(sys.argv[1]))
