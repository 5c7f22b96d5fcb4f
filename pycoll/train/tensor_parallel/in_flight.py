"""Activations on their way between ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pycoll.train.array_module import Array

if TYPE_CHECKING:
    from pycoll import Work


class InFlight:
    """The future result of a collective.

    Parameters
    ----------
    work : Work, optional
        What must be over first.
    result : callable
        Returns the array then.
    """

    def __init__(self, work: Work[Any] | None, result: Callable[[], Array]) -> None:
        self._work = work
        self._result = result

    @classmethod
    def done(cls, array: Array) -> InFlight:
        """Return one that had nothing to do."""
        return cls(None, lambda: array)

    def wait(self) -> Array:
        """Return the array as soon as it is there."""
        if self._work is not None:
            self._work.wait()
        return self._result()
