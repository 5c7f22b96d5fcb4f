"""Text that a model writes by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pycoll.train.array_module import Array
from pycoll.train.data.vocabulary import Vocabulary


def sample_text(
    next_scores: Callable[[Array], Array],
    context: int,
    vocabulary: Vocabulary,
    length: int,
    *,
    prompt: str = "\n",
    temperature: float = 0.7,
    seed: int = 0,
) -> str:
    """Return ``length`` characters drawn one after the other from the model's predictions.

    Collective over the ranks among which the model is split.

    Parameters
    ----------
    next_scores : callable
        Such as `Trainer.next_scores`.
    context : int
        How many tokens it sees at most.
    prompt : str
        What the text continues; it is not part of the result. Characters that the vocabulary
        lacks are left out.
    temperature : float
        Above 0. Below 1 likely characters become more likely.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    generator = np.random.default_rng(seed)
    known = "".join(character for character in prompt if character in vocabulary.characters)
    tokens = vocabulary.encode(known or vocabulary.characters[0]).tolist()
    start = len(tokens)
    for _ in range(length):
        scores = next_scores(np.array([tokens[-context:]]))
        last = scores[0].astype(np.float64) / temperature
        likelihoods = np.exp(last - last.max())
        likelihoods /= likelihoods.sum()
        tokens.append(int(generator.choice(len(likelihoods), p=likelihoods)))
    return vocabulary.decode(tokens[start:])
