"""What is trained on: the same batches for everyone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pycoll.train import RandomBatches

from .job import Job

_TOKENS = 1 << 16


def tokens(job: Job) -> npt.NDArray[np.int64]:
    """Return random tokens: time does not depend on what they say."""
    generator = np.random.default_rng(job.seed)
    return generator.integers(job.config.vocabulary, size=_TOKENS, dtype=np.int64)


def batches(job: Job) -> RandomBatches:
    """Return the batches of a job, which are those of pycoll's trainer."""
    return RandomBatches(tokens(job), job.config.context, job.batch_size, job.seed)
