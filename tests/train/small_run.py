"""A corpus, a model and settings that train in milliseconds."""

from __future__ import annotations

from typing import Any

import pycoll
from pycoll.train import Corpus, GPTConfig, Settings, Trainer

TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on.\n" * 12


def small_trainer(comm: pycoll.Communicator, *, text: str = TEXT, **changes: Any) -> Trainer:
    """Return a trainer; ``changes`` are of its settings and of its model."""
    corpus = Corpus.of(text, context=8)
    shape: dict[str, Any] = {"context": 8, "width": 12, "heads": 2, "layers": 1, "tied": False}
    settings: dict[str, Any] = {"steps": 6, "batch_size": 5, "learning_rate": 0.01, "seed": 1}
    for name, value in changes.items():
        (shape if name in shape else settings)[name] = value
    # Small buckets: several of them, also for so small a model.
    settings.setdefault("bucket_bytes", 1024)
    return Trainer(comm, corpus, GPTConfig(len(corpus.vocabulary), **shape), Settings(**settings))
