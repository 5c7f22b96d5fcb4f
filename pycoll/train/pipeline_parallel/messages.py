"""Activations and gradients on their way between stages, while the stages compute."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pycoll.train.array_module import Array
from pycoll.train.report.trace import Flight, span

if TYPE_CHECKING:
    from pycoll import Communicator
    from pycoll.work import Work

# One tag each: activations and gradients may overtake each other.
TAGS = {"activation": 0, "gradient": 1, "shared": 2}
_MOST_AXES = 8
_NAME_BYTES = 16
# Number of axes, their lengths, the dtype's name.
_FORM_NUMBERS = 1 + _MOST_AXES + _NAME_BYTES // 8


@dataclass(frozen=True)
class Form:
    """Shape and dtype of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, array: Array) -> Form:
        """Return the form of an array."""
        return cls(array.shape, array.dtype)

    def __str__(self) -> str:
        return f"{self.shape} of {self.dtype.name}"

    def encode(self) -> npt.NDArray[np.int64]:
        """Return the form as numbers to send, always equally many."""
        if len(self.shape) > _MOST_AXES:
            raise ValueError(f"activations may have {_MOST_AXES} axes at most, not {self}")
        numbers = np.zeros(_FORM_NUMBERS, np.int64)
        numbers[0] = len(self.shape)
        numbers[1 : 1 + len(self.shape)] = self.shape
        numbers[1 + _MOST_AXES :].view(f"S{_NAME_BYTES}")[0] = self.dtype.name.encode()
        return numbers

    @classmethod
    def decode(cls, numbers: npt.NDArray[np.int64]) -> Form:
        """Return the form that `encode` made the numbers of."""
        name = numbers[1 + _MOST_AXES :].view(f"S{_NAME_BYTES}")[0].decode()
        return cls(tuple(map(int, numbers[1 : 1 + numbers[0]])), np.dtype(name))


class Messages:
    """Sends and receives without waiting.

    Activations of an unknown form are preceded by a message with their form. Both ends know when
    that is: they name the form by a key, and a form goes ahead of the first message of each key.

    Parameters
    ----------
    xp : module
        The array library of what is sent and received.

    Attributes
    ----------
    blocked_seconds : float
        Time spent waiting for messages since the object was made.
    """

    def __init__(self, comm: Communicator, xp: Any) -> None:
        self.comm = comm
        self.xp = xp
        self.blocked_seconds = 0.0
        self._sent_forms: dict[Hashable, Form] = {}
        self._received_forms: dict[Hashable, Form] = {}
        self._sending: list[tuple[Work[None], Flight]] = []

    def send(self, kind: str, array: Array, peer: int) -> None:
        """Send an array that nobody changes until `flush`, and whose form the peer knows."""
        self._sending = [each for each in self._sending if not _landed(*each)]
        self._send(kind, self.xp.ascontiguousarray(array), peer)

    def announce(self, key: Hashable, form: Form, peer: int) -> None:
        """Tell the peer the form of the activations to come, the first time for each key.

        Raises
        ------
        ValueError
            When it is another one than before.
        """
        known = self._sent_forms.setdefault(key, form)
        if known is form:
            self._send("activation", form.encode(), peer)
        elif known != form:
            raise ValueError(
                f"rank {self.comm.rank}: activations of shape {form} for inputs that led to "
                f"{known} before; a layer's output must have a shape that depends on its input's "
                "shape only"
            )

    def form_of(self, key: Hashable) -> Form | None:
        """Return the form of activations to come, if `learn` has received it."""
        return self._received_forms.get(key)

    def learn(self, key: Hashable, peer: int) -> Form:
        """Wait for the form of activations to come, the first time for each key."""
        if key not in self._received_forms:
            numbers = np.zeros(_FORM_NUMBERS, np.int64)
            self.wait(self.comm.recv(numbers, peer, TAGS["activation"], async_op=True))
            self._received_forms[key] = Form.decode(numbers)
        return self._received_forms[key]

    def receive(self, kind: str, form: Form, peer: int) -> Work[Array]:
        """Start to receive an array; `wait` returns it."""
        array = self.xp.empty(form.shape, form.dtype)
        return self.comm.recv(array, peer, TAGS[kind], async_op=True)

    def wait(self, work: Work[Array]) -> Array:
        """Wait for an array, and return it."""
        with self._blocked():
            return work.wait()

    def flush(self) -> None:
        """Wait until all that was sent may be changed again."""
        with self._blocked():
            for work, flight in self._sending:
                work.wait()
                flight.land()
        self._sending = []

    def _send(self, kind: str, array: Array, peer: int) -> None:
        flight = Flight(f"{kind} to stage {peer}")
        self._sending.append((self.comm.send(array, peer, TAGS[kind], async_op=True), flight))

    @contextmanager
    def _blocked(self) -> Iterator[None]:
        started = perf_counter()
        with span("wait for other stages", "waiting"):
            yield
        self.blocked_seconds += perf_counter() - started


def _landed(work: Work[None], flight: Flight) -> bool:
    done = work.test()
    if done:
        flight.land()
    return done
