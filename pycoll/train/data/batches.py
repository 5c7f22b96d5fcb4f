"""Batches of sequences; all that a batch depends on is the seed and the step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pycoll.train.data.shard import shard

#: Sequences per forward pass of a validation: bounds its memory, not its result.
VALIDATION_PIECE = 32


@dataclass(frozen=True)
class Sequences:
    """Inputs and, one position later in the text, their targets.

    Attributes
    ----------
    inputs, targets : NDArray
        Tokens of shape ``(sequences, context)``.
    """

    inputs: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]

    def part(self, rank: int, size: int) -> Sequences:
        """Return the shard of one rank; see `shard`."""
        return self._rows(shard(len(self.inputs), rank, size))

    def in_pieces(self, length: int) -> Iterator[Sequences]:
        """Yield all sequences, at most ``length`` at a time, in their order."""
        for start in range(0, len(self.inputs), length):
            yield self._rows(slice(start, start + length))

    def _rows(self, rows: slice) -> Sequences:
        return Sequences(self.inputs[rows], self.targets[rows])


@dataclass(frozen=True)
class RandomBatches:
    """Random windows of a text.

    The global batch of a step is the same for every number of ranks, and needs no state: a resumed
    run continues with the same batches. Each rank draws all starts (a few integers) and cuts only
    its own windows.

    Attributes
    ----------
    tokens : NDArray
        The text, 1-D, longer than ``context``.
    batch_size : int
        Sequences in the *global* batch.
    """

    tokens: npt.NDArray[np.int64]
    context: int
    batch_size: int
    seed: int

    @property
    def targets_per_step(self) -> int:
        """Number of predictions in the global batch."""
        return self.batch_size * self.context

    def starts(self, step: int) -> npt.NDArray[np.int64]:
        """Return where the windows of ``step`` start, shape ``(batch_size,)``."""
        generator = np.random.default_rng((self.seed, step))
        return generator.integers(len(self.tokens) - self.context, size=self.batch_size)

    def part(self, step: int, rank: int, size: int) -> Sequences:
        """Return the shard of one rank of the batch of ``step``."""
        starts = self.starts(step)[shard(self.batch_size, rank, size)]
        return windows(self.tokens, starts, self.context)


def windows(
    tokens: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], context: int
) -> Sequences:
    """Cut one window of ``context`` inputs and their targets at each start."""
    positions = starts[:, None] + np.arange(context)
    return Sequences(tokens[positions], tokens[positions + 1])


def consecutive_windows(tokens: npt.NDArray[np.int64], context: int) -> Sequences:
    """Cut a text into windows side by side; an incomplete last one is dropped."""
    return windows(tokens, np.arange(0, len(tokens) - context, context), context)
