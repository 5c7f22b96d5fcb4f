"""The loss of the simplest language model, for comparison."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def unigram_loss(
    training: npt.NDArray[np.int64], validation: npt.NDArray[np.int64], classes: int
) -> float:
    """Return the loss of guessing each token by its frequency in the training text.

    Frequencies are smoothed by one (Laplace), since a token may occur in the validation text only.

    Returns
    -------
    float
        Mean over the validation tokens, in nats per token.
    """
    counts = np.bincount(training, minlength=classes) + 1
    losses = -np.log(counts / counts.sum())
    return float(losses[validation].mean())
