"""One rank of a run of pycoll's trainer."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

import pycoll
from pycoll.train import Corpus, Parallelism, Settings, Trainer, Vocabulary, share_cores

from .job import Job, Report
from .modes import MODES
from .text import tokens

#: How often all gradients are reduced by themselves, for a median.
REDUCTIONS = 7


def main(job: Job) -> None:
    """Train, and report on rank 0."""
    comm = pycoll.world()
    share_cores(comm)
    mode = MODES[job.mode]
    settings = Settings(
        steps=job.warmups + job.steps,
        batch_size=job.batch_size,
        seed=job.seed,
        **job.options,
        **mode.settings,
    )
    trainer = Trainer(
        comm, _corpus(job), job.config, settings, Parallelism(**mode.spread(comm.size))
    )
    reports = [trainer.train_step() for _ in range(settings.steps)]
    measured = reports[job.warmups :]
    slowest = comm.all_reduce(np.array([report.seconds for report in measured]), op="max")
    hidden = np.array([trainer.parallel.hidden_share or 0.0])
    comm.all_reduce(hidden, op="min")
    reducing = _reducing_seconds(trainer)
    if comm.rank == 0:
        Report(
            f"pycoll {pycoll.__version__} over {comm.transport}",
            statistics.median(slowest),
            [report.loss for report in reports],
            reducing,
            None if reducing is None else float(hidden[0]),
        ).write(Path(job.results))


def _corpus(job: Job) -> Corpus:
    text = tokens(job)
    # The characters mean nothing: as many as there are tokens.
    vocabulary = Vocabulary("".join(map(chr, range(0x4E00, 0x4E00 + job.config.vocabulary))))
    return Corpus(vocabulary, text, text[: job.config.context + 1])


def _reducing_seconds(trainer: Trainer) -> float | None:
    """Return what reducing all gradients takes when nothing else goes on."""
    parallel = trainer.parallel
    if parallel.comm.size == 1 or parallel.sharded:
        return None
    seconds = []
    for _ in range(REDUCTIONS):
        trainer.comm.barrier()
        started = perf_counter()
        for work in [
            parallel.comm.all_reduce(bucket.flat, async_op=True) for bucket in parallel.buckets
        ]:
            work.wait()
        seconds.append(perf_counter() - started)
    slowest = trainer.comm.all_reduce(np.array(seconds), op="max")
    return float(np.median(slowest))


if __name__ == "__main__":
    main(Job.from_text(sys.argv[1]))
