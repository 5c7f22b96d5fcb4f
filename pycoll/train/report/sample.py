"""Text that a model writes by itself."""

from __future__ import annotations

import numpy as np

from pycoll.train.array_module import as_numpy
from pycoll.train.data.vocabulary import Vocabulary
from pycoll.train.models.gpt import GPT


def sample_text(
    model: GPT,
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
        seen = np.array([tokens[-model.config.context :]])
        scores = model.next_scores(model.xp.asarray(seen))
        last = as_numpy(scores[0]).astype(np.float64) / temperature
        likelihoods = np.exp(last - last.max())
        likelihoods /= likelihoods.sum()
        tokens.append(int(generator.choice(len(likelihoods), p=likelihoods)))
    return vocabulary.decode(tokens[start:])
