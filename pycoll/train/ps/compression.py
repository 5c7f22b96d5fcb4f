"""Shorter pushes: what is left out of one is added to the next.

Every message has the same length for the same number of gradients, so that the receiver knows it
beforehand. Compression may lose anything but a gradient's being no number: a training that
diverges must show.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Vector: TypeAlias = npt.NDArray[Any]
Message: TypeAlias = npt.NDArray[np.uint8]


class Compression(ABC):
    """How gradients are written into fewer bytes."""

    @abstractmethod
    def length(self, count: int, dtype: np.dtype[Any]) -> int:
        """Return the bytes of a message of ``count`` gradients."""

    @abstractmethod
    def encode(self, gradients: Vector, message: Message) -> None:
        """Write 1-D gradients into a message of `length` bytes."""

    @abstractmethod
    def decode(self, message: Message, gradients: Vector) -> None:
        """Write what a message says over ``gradients``."""


@dataclass(frozen=True)
class TopK(Compression):
    """Send the greatest gradients only, with their places.

    Attributes
    ----------
    fraction : float
        Of the gradients of a message, above 0 and up to 1; one at least is sent. Each takes the
        bytes of a gradient and 4 more.

    Source: Aji and Heafield, "Sparse Communication for Distributed Gradient Descent" (2017).
    """

    fraction: float

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must be above 0 and up to 1, not {self.fraction}")

    def length(self, count: int, dtype: np.dtype[Any]) -> int:
        return self._kept(count) * (dtype.itemsize + 4)

    def encode(self, gradients: Vector, message: Message) -> None:
        kept = self._kept(gradients.size)
        places = np.argpartition(np.abs(gradients), gradients.size - kept)[-kept:]
        sent_values, sent_places = self._parts(message, gradients)
        sent_places[:] = places
        sent_values[:] = gradients[places]

    def decode(self, message: Message, gradients: Vector) -> None:
        values, places = self._parts(message, gradients)
        gradients.fill(0)
        gradients[places] = values

    def _kept(self, count: int) -> int:
        return max(1, round(self.fraction * count))

    def _parts(self, message: Message, like: Vector) -> tuple[Vector, Vector]:
        values = self._kept(like.size) * like.dtype.itemsize
        return message[:values].view(like.dtype), message[values:].view(np.int32)


@dataclass(frozen=True)
class EightBit(Compression):
    """Send each gradient as a whole number from -127 to 127 times the scale of its block.

    Attributes
    ----------
    block : int
        How many gradients share a scale. The scale takes the bytes of a gradient: with float32
        and 256, a message is a quarter as long, and 1.6 % more.

    Source: Dettmers, "8-Bit Approximations for Parallelism in Deep Learning" (2016), in its linear
    form.
    """

    block: int = 256

    def __post_init__(self) -> None:
        if self.block < 1:
            raise ValueError(f"block must be at least 1, not {self.block}")

    def length(self, count: int, dtype: np.dtype[Any]) -> int:
        return self._blocks(count) * dtype.itemsize + count

    def encode(self, gradients: Vector, message: Message) -> None:
        scales, codes = self._parts(message, gradients)
        starts = np.arange(0, gradients.size, self.block)
        scales[:] = np.maximum.reduceat(np.abs(gradients), starts) / 127
        # A block of zeros has scale 0, and one with a NaN in it is NaN whatever its codes are.
        with np.errstate(divide="ignore", invalid="ignore"):
            quotients = gradients / self._spread(scales, gradients.size)
            codes[:] = np.rint(np.nan_to_num(quotients, nan=0, posinf=0, neginf=0))

    def decode(self, message: Message, gradients: Vector) -> None:
        scales, codes = self._parts(message, gradients)
        with np.errstate(invalid="ignore"):
            np.multiply(self._spread(scales, gradients.size), codes, out=gradients)

    def _blocks(self, count: int) -> int:
        return -(-count // self.block)

    def _spread(self, scales: Vector, count: int) -> Vector:
        return np.repeat(scales, self.block)[:count]

    def _parts(self, message: Message, like: Vector) -> tuple[Vector, Vector]:
        scales = self._blocks(like.size) * like.dtype.itemsize
        return message[:scales].view(like.dtype), message[scales:].view(np.int8)


class ErrorFeedback:
    """Compresses one sequence of gradients; what a message loses, the next one brings along.

    Without it, `TopK` would never send gradients that are always small, and training need not
    converge. The error is that of the gradients, not of the steps: it is right where the learning
    rate changes slowly.

    Source: Seide et al., "1-Bit Stochastic Gradient Descent" (2014), section 3; Karimireddy et
    al., "Error Feedback Fixes SignSGD and other Gradient Compression Schemes" (2019), algorithm 2.
    """

    def __init__(self, compression: Compression, count: int, dtype: np.dtype[Any]) -> None:
        self._compression = compression
        self._error = np.zeros(count, dtype)
        self._sent = np.empty(count, dtype)
        self._message = np.empty(compression.length(count, dtype), np.uint8)

    def encode(self, gradients: Vector) -> Message:
        """Return the message; valid until the next call."""
        self._error += gradients
        self._compression.encode(self._error, self._message)
        self._compression.decode(self._message, self._sent)
        self._error -= self._sent
        return self._message
