"""The characters of a text, numbered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Vocabulary:
    """A two-way map between characters and tokens.

    Attributes
    ----------
    characters : str
        In order of their code points; the token of a character is its index.
    """

    characters: str

    @classmethod
    def of(cls, text: str) -> Vocabulary:
        """Return the vocabulary of all characters in ``text``."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Return the tokens of ``text``, shape ``(len(text),)``.

        Raises
        ------
        ValueError
            For a character that the vocabulary lacks.
        """
        strange = set(text) - set(self.characters)
        if strange:
            raise ValueError(f"characters {sorted(strange)[:5]} are not in the vocabulary")
        return np.searchsorted(_code_points(self.characters), _code_points(text)).astype(np.int64)

    def decode(self, tokens: npt.ArrayLike) -> str:
        """Return the text of ``tokens``."""
        return "".join(self.characters[token] for token in np.asarray(tokens).tolist())


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
