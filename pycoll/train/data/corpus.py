"""A text as tokens, split into training and validation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pycoll.train.data.vocabulary import Vocabulary

_VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class Corpus:
    """The tokens of a text.

    Attributes
    ----------
    training, validation : NDArray
        Tokens, 1-D; validation is the last tenth of the text.
    """

    vocabulary: Vocabulary
    training: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]

    @property
    def fingerprint(self) -> str:
        """Tell texts of one vocabulary apart; 16 hexadecimal digits."""
        digest = hashlib.sha256(self.training.data)
        digest.update(self.validation.data)
        return digest.hexdigest()[:16]

    @classmethod
    def of(cls, text: str, context: int) -> Corpus:
        """Tokenise and split ``text``.

        Raises
        ------
        ValueError
            When either part is too short for one sequence of ``context`` tokens and its targets.
        """
        vocabulary = Vocabulary.of(text)
        tokens = vocabulary.encode(text)
        split = len(tokens) - int(len(tokens) * _VALIDATION_SHARE)
        corpus = cls(vocabulary, tokens[:split], tokens[split:])
        shortest = min(len(corpus.training), len(corpus.validation))
        if shortest <= context:
            raise ValueError(
                f"the text of {len(text)} characters is too short: its training and validation "
                f"parts ({len(corpus.training)} and {len(corpus.validation)} characters) must "
                f"each be longer than the context of {context}; use more text or a shorter context"
            )
        return corpus
