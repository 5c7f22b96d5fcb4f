"""Gradients side by side in one buffer, so that one collective reduces them all.

Source: Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training"
(2020), section 3.2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from pycoll.train.array_module import Array
from pycoll.train.layers.parameter import GradientError, Parameter

Named = tuple[str, Parameter]
Zeros: TypeAlias = Callable[[int, Array], Array]


class Bucket:
    """A flat buffer into which the gradients of some parameters become views.

    Parameters
    ----------
    members : sequence of (str, Parameter)
        Of one dtype; at least one.
    zeros : callable
        Makes the buffer: ``zeros(count, like)`` returns a 1-D array of zeros of the kind and dtype
        of the array ``like``.
    parts : int
        The buffer ends with as many zeros as make its length a multiple of this.

    Attributes
    ----------
    flat : Array
        The gradients, 1-D, in the order of ``members``.
    """

    def __init__(self, members: Sequence[Named], zeros: Zeros, parts: int = 1) -> None:
        self.members = list(members)
        self._zeros = zeros
        total = sum(parameter.data.size for _, parameter in self.members)
        self._length = total + -total % parts
        self.flat = zeros(self._length, self.members[0][1].data)
        for _, parameter, start, stop in self._places():
            parameter.grad = self.flat[start:stop].reshape(parameter.data.shape)

    @property
    def complete(self) -> bool:
        """Whether all gradients of the bucket have been written."""
        return all(parameter.complete for _, parameter in self.members)

    def join_values(self) -> Array:
        """Make the members' values views into one buffer, laid out like ``flat``; return it."""
        values = self._zeros(self._length, self.members[0][1].data)
        for _, parameter, start, stop in self._places():
            view = values[start:stop].reshape(parameter.data.shape)
            view[...] = parameter.data
            parameter.data = view
        return values

    def cut(self, first: int, last: int) -> Iterator[tuple[str, Parameter, slice, slice]]:
        """Yield what of the members lies between two elements of the buffer.

        Yields
        ------
        (str, Parameter, slice, slice)
            The slice of the flattened parameter, and the same elements counted from ``first``.
        """
        for name, parameter, start, stop in self._places():
            begin, end = max(start, first), min(stop, last)
            if begin < end:
                yield (
                    name,
                    parameter,
                    slice(begin - start, end - start),
                    slice(begin - first, end - first),
                )

    def _places(self) -> Iterator[tuple[str, Parameter, int, int]]:
        start = 0
        for name, parameter in self.members:
            stop = start + parameter.data.size
            yield name, parameter, start, stop
            start = stop


def require_all_gradients(rank: int, buckets: Iterable[Bucket]) -> None:
    """Check that a backward pass has written every gradient.

    Raises
    ------
    GradientError
        With the names of the parameters that got none, or not from all passes.
    """
    missing = [
        name for bucket in buckets for name, parameter in bucket.members if not parameter.complete
    ]
    if missing:
        raise GradientError(
            f"rank {rank}: the backward pass wrote no complete gradient for "
            f"{', '.join(missing)}; every parameter of the model must take part in the loss"
        )


def fill_buckets(
    parameters: Sequence[Named], bucket_bytes: int, zeros: Zeros, parts: int = 1
) -> list[Bucket]:
    """Put gradients into buckets in the order in which a backward pass completes them.

    Parameters
    ----------
    parameters : sequence of (str, Parameter)
        In the order of the forward pass; buckets are filled from its end.
    bucket_bytes : int
        A bucket is closed before it would grow beyond this size; a single larger gradient gets a
        bucket of its own. It is also closed where the dtype changes. A gradient to which other
        ranks contribute (``remote_uses``) is complete last, and gets a bucket of its own: then all
        ranks that have a copy of the parameter add it up in the same order, to the same bits.
    zeros, parts
        As for `Bucket`.
    """
    if bucket_bytes < 1:
        raise ValueError(f"bucket_bytes must be at least 1, not {bucket_bytes}")
    groups: list[list[Named]] = []
    filled = 0
    backward = list(reversed(parameters))
    backward.sort(key=lambda named: named[1].remote_uses)
    for name, parameter in backward:
        data = parameter.data
        fits = groups and filled + data.nbytes <= bucket_bytes and not parameter.remote_uses
        if not (fits and data.dtype == groups[-1][-1][1].data.dtype):
            groups.append([])
            filled = 0
        groups[-1].append((name, parameter))
        filled += data.nbytes
    return [Bucket(group, zeros, parts) for group in groups]
