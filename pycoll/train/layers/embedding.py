"""A learnt vector per token, and the output layer that may share it.

Split among ranks by tokens: Shoeybi et al., "Megatron-LM" (2019), section 3.
"""

from __future__ import annotations

from typing import Any

from pycoll.train.array_module import Array
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.layer import Layer
from pycoll.train.layers.linear import rows_of
from pycoll.train.layers.one_hot import one_hot
from pycoll.train.tensor_parallel.tensor_group import ALONE, TensorGroup


class Embedding(Layer):
    """Map tokens ``(...)`` to resident vectors ``(..., width)``.

    Parameters
    ----------
    tensor : TensorGroup
        The ranks that hold the layer together, each the vectors of some tokens.
    """

    def __init__(
        self,
        init: Initializer,
        tokens: int,
        width: int,
        tensor: TensorGroup = ALONE,
        *,
        std: float,
    ) -> None:
        self.xp = init.xp
        self.tensor = tensor
        self.weight = init.normal((tokens, width), std, tensor.split((tokens, width), 0))
        self._first, self._end = tensor.own_range(tokens)

    def forward(self, x: Array) -> tuple[Array, Any]:
        if self.tensor.alone:
            return self.weight.data[x], x
        own = self._own(x)
        vectors = self.tensor.empty((*x.shape, self.weight.data.shape[1]), self.weight.data)
        vectors[...] = 0
        vectors[own] = self.weight.data[x[own] - self._first]
        return self.tensor.sum(vectors), x

    def backward(self, saved: Any, dy: Array) -> None:
        # A product with one-hot rows, not a scatter-add: np.add.at takes 3 times as long for 256
        # tokens of width 128 (0.42 ms against 0.13 ms), and CuPy's adds in no fixed order, so that
        # two runs would differ. It costs memory tokens x classes: right for small vocabularies.
        dvectors = self.tensor.gather(dy)
        if self.tensor.alone:
            tokens, rows = saved.reshape(-1), rows_of(dvectors)
        else:
            own = self._own(saved)
            tokens, rows = saved[own] - self._first, dvectors[own]
        hot = one_hot(self.xp, tokens, self._end - self._first, dy.dtype)
        self.weight.accumulate(self.xp.matmul, hot.T, rows)

    def _own(self, tokens: Array) -> Array:
        """Return at which places there are tokens whose vectors this rank holds."""
        own: Array = (tokens >= self._first) & (tokens < self._end)
        return own


class TiedHead(Layer):
    """Scores of all tokens, ``y = x E^T``, with the weight ``E`` of an `Embedding`.

    Where that is split, the scores of this rank's tokens: a `ColumnLinear` with another weight.

    Source: Press and Wolf, "Using the Output Embedding to Improve Language Models" (2017).
    """

    def __init__(self, embedding: Embedding) -> None:
        self.xp = embedding.xp
        self.tensor = embedding.tensor
        self.weight = embedding.weight
        self.weight.uses += 1

    def forward(self, x: Array) -> tuple[Array, Any]:
        whole = self.tensor.gather(x)
        scores: Array = rows_of(whole) @ self.weight.data.T
        return scores.reshape(*whole.shape[:-1], scores.shape[-1]), x

    def backward(self, saved: Any, dy: Array) -> Array:
        drows = rows_of(dy)
        gathering = self.tensor.start_gather(saved)
        dx = self.tensor.empty((*dy.shape[:-1], self.weight.data.shape[1]), dy)
        self.xp.matmul(drows, self.weight.data, out=rows_of(dx))
        rows = rows_of(gathering.wait())
        summing = self.tensor.start_sum(dx)
        self.weight.accumulate(self.xp.matmul, drows.T, rows)
        return summing.wait()
