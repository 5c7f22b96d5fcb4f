"""Where parameters come from: their first values, dtype and device."""

from __future__ import annotations

import math
import zlib

import numpy as np

from pycoll.train.array_module import array_module
from pycoll.train.layers.parameter import Parameter
from pycoll.train.layers.shard import Shard


class Initializer:
    """Make parameters with reproducible first values.

    Values are drawn on the host in float64 and then cast, so that a model starts from the same
    numbers on every device and (up to rounding) in every dtype.

    Parameters
    ----------
    seed : int or tuple of int
        Of the random generator. Parameters are drawn in the order in which they are asked for.
    dtype : str
        "float32" to train, "float64" to check gradients.
    device : {"cpu", "cuda"}
    """

    def __init__(
        self, seed: int | tuple[int, ...], dtype: str = "float32", device: str = "cpu"
    ) -> None:
        self.xp = array_module(device)
        self.dtype = np.dtype(dtype)
        self._device = device
        self._seed = (seed,) if isinstance(seed, int) else seed
        self._generator = np.random.default_rng(self._seed)

    def named(self, name: str) -> Initializer:
        """Return an initializer for the part of a model that has this name.

        What it draws depends on seed and name only: a rank that makes some layers of a model gets
        the same numbers as one that makes all.
        """
        return Initializer((*self._seed, zlib.crc32(name.encode())), self.dtype.name, self._device)

    def normal(self, shape: tuple[int, ...], std: float, shard: Shard | None = None) -> Parameter:
        """Return a parameter drawn from a normal distribution of mean 0.

        Parameters
        ----------
        shape : tuple of int
            Of the whole parameter.
        shard : Shard, optional
            The part of it to return, which has the same values as in the whole.
        """
        data = self._generator.standard_normal(math.prod(shape)).reshape(shape) * std
        return self._parameter(data, shard)

    def constant(
        self, shape: tuple[int, ...], value: float, shard: Shard | None = None
    ) -> Parameter:
        """Return a parameter with all elements equal to ``value``; see `normal`."""
        return self._parameter(np.full(shape, value), shard)

    def _parameter(self, data: np.ndarray, shard: Shard | None) -> Parameter:
        part = data if shard is None else shard.part_of(data)
        on_device = self.xp.asarray(part.astype(self.dtype))
        return Parameter(on_device, self.xp.zeros_like(on_device), shard)
