"""Gradients side by side in one buffer, so that one collective reduces them all.

Source: Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training"
(2020), section 3.2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from pycoll.train.array_module import Array
from pycoll.train.layers.parameter import Parameter

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

    Attributes
    ----------
    flat : Array
        The gradients, 1-D, in the order of ``members``.
    """

    def __init__(self, members: Sequence[Named], zeros: Zeros) -> None:
        self.members = list(members)
        first = self.members[0][1].data
        total = sum(parameter.data.size for _, parameter in self.members)
        self.flat = zeros(total, first)
        offset = 0
        for _, parameter in self.members:
            end = offset + parameter.data.size
            parameter.grad = self.flat[offset:end].reshape(parameter.data.shape)
            offset = end

    @property
    def complete(self) -> bool:
        """Whether all gradients of the bucket have been written."""
        return all(parameter.complete for _, parameter in self.members)


def fill_buckets(parameters: Sequence[Named], bucket_bytes: int, zeros: Zeros) -> list[Bucket]:
    """Put gradients into buckets in the order in which a backward pass completes them.

    Parameters
    ----------
    parameters : sequence of (str, Parameter)
        In the order of the forward pass; buckets are filled from its end.
    bucket_bytes : int
        A bucket is closed before it would grow beyond this size; a single larger gradient gets a
        bucket of its own. It is also closed where the dtype changes.
    zeros : callable
        As for `Bucket`.
    """
    if bucket_bytes < 1:
        raise ValueError(f"bucket_bytes must be at least 1, not {bucket_bytes}")
    groups: list[list[Named]] = []
    filled = 0
    for name, parameter in reversed(parameters):
        data = parameter.data
        fits = groups and filled + data.nbytes <= bucket_bytes
        if not (fits and data.dtype == groups[-1][-1][1].data.dtype):
            groups.append([])
            filled = 0
        groups[-1].append((name, parameter))
        filled += data.nbytes
    return [Bucket(group, zeros) for group in groups]
