"""What one rank's optimizer steps on, where that is not a model's parameter itself."""

from __future__ import annotations

from pycoll.train.array_module import Array
from pycoll.train.layers.parameter import Parameter


class Piece(Parameter):
    """Some consecutive elements of another parameter, flattened.

    Attributes
    ----------
    data, grad : Array
        1-D. ``data`` may be a view of the parameter's own values, or a copy of higher precision.
    whole : Parameter
        The one that it is a piece of. ``shard`` says which part *that* is of a larger one.
    start, stop : int
        First element and the one after the last, of ``whole`` in C order.
    """

    __slots__ = ("start", "stop", "whole")

    def __init__(
        self, whole: Parameter, start: int, stop: int, *, data: Array, grad: Array
    ) -> None:
        super().__init__(data, grad, whole.shard)
        self.is_copy = whole.is_copy
        self.remote_uses = whole.remote_uses
        self.whole = whole
        self.start = start
        self.stop = stop

    @property
    def is_matrix(self) -> bool:
        """Whether the whole has two axes or more."""
        return self.whole.is_matrix
