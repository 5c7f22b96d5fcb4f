"""A trainable array, its gradient, and the moment at which that gradient is complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pycoll.train.array_module import Array
from pycoll.train.layers.shard import Shard

if TYPE_CHECKING:
    from pycoll.train.tensor_parallel.tensor_group import TensorGroup


class GradientError(RuntimeError):
    """A backward pass wrote a gradient too often, or not at all."""


class Parameter:
    """A trainable array with its gradient.

    Layers write gradients with `accumulate` only. The first contribution of a backward pass
    overwrites ``grad`` in place (no temporary, no zeroing beforehand), later ones are added. The
    contribution that completes the gradient calls ``on_complete``: that is the moment at which
    data parallelism may start to reduce it while the backward pass goes on.

    Attributes
    ----------
    data : Array
        The values. Reading it waits for them where they are on their way from other ranks.
    grad : Array
        The gradient, of the shape and dtype of ``data``. It may be a view into a larger buffer.
    shard : Shard, optional
        Which part of a larger parameter this is, where several ranks hold one together.
    partial_over : TensorGroup, optional
        The ranks whose gradients must be added up, where each has worked on its own positions of
        the sequences. The gradient is complete only then, so nobody else has to know.
    is_copy : bool
        Whether another pipeline stage has the same parameter, too, and counts for it.
    uses : int
        How often one backward pass contributes: 1, or more for a weight that several layers share.
    remote_uses : int
        Contributions that come from other ranks, in addition: once for all passes together.
    on_complete : callable, optional
        Called without arguments when the gradient is complete.
    on_read : callable, optional
        Called without arguments before ``data`` is read, once: it waits for the values.
    """

    __slots__ = (
        "_contributions",
        "_data",
        "_expected",
        "grad",
        "is_copy",
        "on_complete",
        "on_read",
        "partial_over",
        "remote_uses",
        "shard",
        "uses",
    )

    def __init__(self, data: Array, grad: Array, shard: Shard | None = None) -> None:
        self._data = data
        self.grad = grad
        self.shard = shard
        self.partial_over: TensorGroup | None = None
        self.is_copy = False
        self.uses = 1
        self.remote_uses = 0
        self.on_complete: Callable[[], None] | None = None
        self.on_read: Callable[[], None] | None = None
        self._contributions = 0
        self._expected = 1

    @property
    def data(self) -> Array:
        if self.on_read is not None:
            wait, self.on_read = self.on_read, None
            wait()
        return self._data

    @data.setter
    def data(self, values: Array) -> None:
        self._data = values

    def clear_gradient(self, passes: int = 1) -> None:
        """Forget the gradient; the next ``passes`` backward passes together make the new one."""
        self._contributions = 0
        self._expected = self.uses * passes + self.remote_uses

    @property
    def is_matrix(self) -> bool:
        """Whether it has two axes or more: weight decay is for those."""
        return self._data.ndim >= 2

    @property
    def complete(self) -> bool:
        """Whether all expected contributions have been written since `clear_gradient`."""
        return self.missing == 0

    @property
    def missing(self) -> int:
        """How many contributions have not been written yet."""
        return self._expected - self._contributions

    def accumulate(self, function: Callable[..., Array], *operands: Array, **options: Any) -> None:
        """Add ``function(*operands, **options)`` to the gradient.

        Parameters
        ----------
        function : callable
            An array function that takes ``out=``, such as ``xp.matmul`` or ``xp.sum``.

        Raises
        ------
        GradientError
            When the gradient was complete already: `clear_gradient` was not called.
        """
        if self._contributions == self._expected:
            raise GradientError(
                f"the gradient of a parameter of shape {self.data.shape} is complete already "
                f"after {self._expected} contribution(s); call clear_gradient() before backward"
            )
        if self._contributions == 0:
            function(*operands, out=self.grad, **options)
        else:
            self.grad += function(*operands, **options)
        self._contributions += 1
        if self._contributions < self._expected:
            return
        if self.partial_over is not None:
            self.partial_over.reduce(self.grad)
        if self.on_complete is not None:
            self.on_complete()
