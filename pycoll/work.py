"""An operation that goes on while the program does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from pycoll import _core

Result = TypeVar("Result", covariant=True)

#: A CUDA stream: its pointer as an integer (0 or 1 is the legacy default stream, 2 the per-thread
#: one), anything with ``__cuda_stream__``, or a stream of CuPy, PyTorch or Numba.
Stream: TypeAlias = Any


class Work(Generic[Result]):
    """The handle of an asynchronous operation.

    The arrays of the operation must not be changed, and its result not be read, before it has
    completed. It goes on, and its arrays stay alive, also when the handle is dropped.
    """

    __slots__ = ("_result", "_work")

    def __init__(self, work: _core.Work, result: Result) -> None:
        self._work = work
        self._result = result

    def wait(self, timeout: float | None = None, *, stream: Stream | None = None) -> Result:
        """Wait until the operation has completed, and return its result.

        Parameters
        ----------
        timeout : float, optional
            Seconds. By default only the communicator's own timeout ends the wait.
        stream : stream, optional
            Of an operation on a GPU: has this stream wait instead of the host, which goes on at
            once. What is put on the stream from now on sees the result. The arrays may be used on
            this stream only, until the operation has completed. Should the operation fail, the
            stream goes on, and the next `wait` or `test` raises the error. Where nobody else would
            move the operation along (an MPI that only one thread may call), and for a stream of the
            GPU's highest priority, which could keep the operation from its turn, the host waits,
            too.

        Returns
        -------
        array or None
            What the call would have returned without ``async_op=True``.

        Raises
        ------
        TimeoutError
            When it has not completed in time; it says what is waited for. After ``timeout``
            seconds the operation goes on and may be waited for again; after the communicator's
            own timeout the communicator can no longer be used.
        CollectiveError
            When the operation failed.
        ValueError, TypeError
            For a timeout with a stream, and for a stream of an operation on the host.
        """
        if stream is None:
            self._work.wait(timeout)
        elif timeout is None:
            self._work.order(stream)
        else:
            raise ValueError(
                "'timeout' is how long the host waits, and with 'stream' it does not; omit one"
            )
        return self._result

    def synchronize(self, timeout: float | None = None) -> Result:
        """Wait on the host until the operation has completed, and return its result.

        The same as `wait` without a stream.
        """
        return self.wait(timeout)

    def test(self) -> bool:
        """Return whether the operation has completed, and help it along. Never blocks.

        Raises
        ------
        CollectiveError
            When the operation failed.
        """
        return self._work.test()


def wait_some(works: Sequence[Work[Any]], timeout: float | None = None) -> list[int]:
    """Wait until one or more of several operations have completed.

    For a rank that serves several others and does not know who will be next: it posts a receive
    from each. All operations that have completed are returned, so that none is passed over.

    Parameters
    ----------
    works : sequence of Work
        At least one; all of one communicator.
    timeout : float, optional
        Seconds, as for `Work.wait`.

    Returns
    -------
    list of int
        The positions in ``works`` of those that have completed, in order; at least one.

    Raises
    ------
    ValueError
        Without works, or with those of several communicators.
    TimeoutError
        When none has completed in time; see `Work.wait`.
    CollectiveError
        When one of the completed operations failed.
    """
    return _core.wait_some([work._work for work in works], timeout)
