"""Which part of a larger array a rank holds."""

from __future__ import annotations

from dataclasses import dataclass

from pycoll.train.array_module import Array, array_module_of


@dataclass(frozen=True)
class Shard:
    """Some ranges along one axis of a larger array, side by side.

    Attributes
    ----------
    shape : tuple of int
        Of the whole array.
    axis : int
        The axis along which it is cut.
    ranges : tuple of (int, int)
        First index and the one after the last, of each range; in the order in which they lie in
        the part. More than one where a matrix holds several side by side (queries, keys, values).
    """

    shape: tuple[int, ...]
    axis: int
    ranges: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not 0 <= self.axis < len(self.shape):
            raise ValueError(f"axis {self.axis} is none of an array of shape {self.shape}")
        for start, stop in self.ranges:
            if not 0 <= start <= stop <= self.shape[self.axis]:
                raise ValueError(
                    f"the range {start} to {stop} lies outside axis {self.axis} of shape "
                    f"{self.shape}"
                )

    @property
    def part_shape(self) -> tuple[int, ...]:
        """Shape of the part."""
        length = sum(stop - start for start, stop in self.ranges)
        return (*self.shape[: self.axis], length, *self.shape[self.axis + 1 :])

    def part_of(self, whole: Array) -> Array:
        """Return a copy of the part of an array of shape ``shape``."""
        pieces = [whole[self._index(start, stop)] for start, stop in self.ranges]
        joined: Array = array_module_of(whole).concatenate(pieces, axis=self.axis)
        return joined

    def write_into(self, whole: Array, part: Array) -> None:
        """Put a part to its place in an array of shape ``shape``."""
        offset = 0
        for start, stop in self.ranges:
            end = offset + stop - start
            whole[self._index(start, stop)] = part[self._index(offset, end)]
            offset = end

    def _index(self, start: int, stop: int) -> tuple[slice, ...]:
        return (slice(None),) * self.axis + (slice(start, stop),)
