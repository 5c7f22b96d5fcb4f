"""What a model predicts, in place of how wrong that is."""

from __future__ import annotations

from typing import Any

from pycoll.train.array_module import Array


class LastScores:
    """A `Criterion` that keeps the scores at one position of each sequence.

    Parameters
    ----------
    length : int
        The scores of what follows so many tokens are kept.

    Attributes
    ----------
    scores : list of Array
        Of each micro-batch, shape ``(sequences, classes)``; on the last stage only.
    """

    def __init__(self, length: int) -> None:
        self._position = length - 1
        self.scores: list[Array] = []

    def forward(self, scores: Array, targets: Array) -> tuple[float, Any]:
        """Keep the scores; there is no loss."""
        self.scores.append(scores[:, self._position])
        return 0.0, None

    def backward(self, saved: Any, dy: float) -> Array:
        """Refuse: there is nothing to differentiate."""
        raise RuntimeError("LastScores serves evaluation only")
