"""Activations on their way between ranks."""

from __future__ import annotations

from collections.abc import Callable

from pycoll.train.array_module import Array


class InFlight:
    """The future result of a collective.

    Parameters
    ----------
    arrive : callable, optional
        Waits for what must be over first.
    result : callable
        Returns the array then.
    """

    def __init__(self, arrive: Callable[[], None] | None, result: Callable[[], Array]) -> None:
        self._arrive = arrive
        self._result = result

    @classmethod
    def done(cls, array: Array) -> InFlight:
        """Return one that had nothing to do."""
        return cls(None, lambda: array)

    def wait(self) -> Array:
        """Return the array as soon as it is there."""
        if self._arrive is not None:
            self._arrive()
        return self._result()
