"""Cross-entropy of a softmax with the true classes, summed over all positions.

Split among ranks by classes: Shoeybi et al., "Megatron-LM" (2019), section 3. Of the scores of a
batch of n positions, two numbers per position are exchanged, not the scores themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pycoll.train.array_module import Array
from pycoll.train.layers.linear import rows_of
from pycoll.train.tensor_parallel.tensor_group import ALONE, TensorGroup


class CrossEntropy:
    """The loss. It has no parameters and two inputs, hence is no `Layer`.

    It returns a *sum*, not a mean: with uneven shards only the sum over ranks, divided by the
    global number of tokens, is the loss of the global batch.

    Parameters
    ----------
    tensor : TensorGroup
        The ranks that have the scores together, each those of some classes. All of them get the
        same loss.
    classes : int, optional
        Of all ranks together; needed where there are several.
    """

    def __init__(
        self, xp: Any = np, tensor: TensorGroup = ALONE, *, classes: int | None = None
    ) -> None:
        self.xp = xp
        self.tensor = tensor
        self._own: tuple[int, int] | None = None
        if not tensor.alone:
            if classes is None:
                raise ValueError("pass 'classes': how many the ranks have together")
            self._own = tensor.own_range(classes)

    def forward(self, scores: Array, targets: Array) -> tuple[float, Any]:
        """Return the summed loss in nats, added up in float64, and what `backward` needs.

        Parameters
        ----------
        scores : Array
            Unnormalised log-probabilities, shape ``(..., classes)``; of this rank's classes.
        targets : Array
            True classes, integers of shape ``(...)``; of all classes.
        """
        xp = self.xp
        rows = rows_of(scores)
        chosen = self._chosen(targets.reshape(-1))
        # log(sum(exp(x))) - x[target], shifted by the greatest x so that no exp overflows
        greatest = rows.max(axis=-1, keepdims=True)
        self.tensor.reduce(greatest, "max")
        shifted = rows - greatest
        # One array, so that one collective adds up both.
        sums = self.tensor.empty((2, rows.shape[0]), rows)
        sums[1] = 0
        sums[1][chosen[0]] = shifted[chosen]
        xp.exp(shifted, out=shifted)
        shifted.sum(axis=-1, out=sums[0])
        self.tensor.reduce(sums)
        losses = xp.log(sums[0]) - sums[1]
        shifted /= sums[0][:, None]
        return float(xp.sum(losses, dtype=np.float64)), (shifted, chosen, scores.shape)

    def backward(self, saved: Any, dy: float) -> Array:
        """Return the gradient with respect to ``scores`` for a gradient ``dy`` of the sum."""
        probabilities, chosen, shape = saved
        dscores: Array = probabilities
        dscores[chosen] -= 1
        dscores *= dy
        return dscores.reshape(shape)

    def _chosen(self, targets: Array) -> tuple[Array, Array]:
        """Return at which (row, column) the scores of true classes are, of those on this rank."""
        rows = self.xp.arange(targets.shape[0])
        if self._own is None:
            return rows, targets
        first, end = self._own
        here = (targets >= first) & (targets < end)
        return rows[here], targets[here] - first
