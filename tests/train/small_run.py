"""A corpus, a model and settings that train in milliseconds."""

from __future__ import annotations

from typing import Any

import pycoll
from pycoll.train import Corpus, GPTConfig, Parallelism, Settings, Trainer, sample_text

TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on.\n" * 12


def small_trainer(comm: pycoll.Communicator, *, text: str = TEXT, **changes: Any) -> Trainer:
    """Return a trainer; ``changes`` are of its settings, its model and its parallelism."""
    corpus = Corpus.of(text, context=8)
    shape: dict[str, Any] = {"context": 8, "width": 12, "heads": 2, "layers": 1, "tied": False}
    settings: dict[str, Any] = {"steps": 6, "batch_size": 5, "learning_rate": 0.01, "seed": 1}
    spread: dict[str, Any] = {}
    for name, value in changes.items():
        if name in Parallelism.__dataclass_fields__:
            spread[name] = value
        else:
            (shape if name in shape else settings)[name] = value
    # Small buckets: several of them, also for so small a model.
    settings.setdefault("bucket_bytes", 1024)
    model = GPTConfig(len(corpus.vocabulary), **shape)
    return Trainer(comm, corpus, model, Settings(**settings), Parallelism(**spread))


def sample(trainer: Trainer, length: int, **options: Any) -> str:
    """Return text that the trainer's model writes."""
    vocabulary, context = trainer.corpus.vocabulary, trainer.config.context
    return sample_text(trainer.next_scores, context, vocabulary, length, **options)
