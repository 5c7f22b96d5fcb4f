"""Where parameters come from: their first values, dtype and device."""

from __future__ import annotations

import math

import numpy as np

from pycoll.train.array_module import array_module
from pycoll.train.layers.parameter import Parameter


class Initializer:
    """Make parameters with reproducible first values.

    Values are drawn on the host in float64 and then cast, so that a model starts from the same
    numbers on every device and (up to rounding) in every dtype.

    Parameters
    ----------
    seed : int
        Of the random generator. Parameters are drawn in the order in which they are asked for.
    dtype : str
        "float32" to train, "float64" to check gradients.
    device : {"cpu", "cuda"}
    """

    def __init__(self, seed: int, dtype: str = "float32", device: str = "cpu") -> None:
        self.xp = array_module(device)
        self.dtype = np.dtype(dtype)
        self._generator = np.random.default_rng(seed)

    def normal(self, shape: tuple[int, ...], std: float) -> Parameter:
        """Return a parameter drawn from a normal distribution of mean 0."""
        data = self._generator.standard_normal(math.prod(shape)).reshape(shape) * std
        return self._parameter(data)

    def constant(self, shape: tuple[int, ...], value: float) -> Parameter:
        """Return a parameter with all elements equal to ``value``."""
        return self._parameter(np.full(shape, value))

    def _parameter(self, data: np.ndarray) -> Parameter:
        on_device = self.xp.asarray(data.astype(self.dtype))
        return Parameter(on_device, self.xp.zeros_like(on_device))
