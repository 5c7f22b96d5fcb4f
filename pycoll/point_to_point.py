"""Messages from one rank to another."""

from __future__ import annotations

from typing import Literal, overload

from pycoll.arrays import Array
from pycoll.calling import Caller
from pycoll.work import Stream, Work


class PointToPoint(Caller):
    """Send and receive.

    Messages with the same sender, receiver and tag arrive in the order in which they were sent.
    They do not meet the messages of collectives, nor the program's own MPI messages. Arrays, and
    ``stream`` of arrays on a GPU, are as for `Collectives`.
    """

    @property
    def tags(self) -> int:
        """How many tags there are: they run from 0 up to, not including, this."""
        return self._core.user_tags

    @overload
    def send(
        self,
        array: Array,
        dst: int,
        tag: int = 0,
        *,
        async_op: Literal[False] = False,
        stream: Stream | None = None,
    ) -> None: ...
    @overload
    def send(
        self,
        array: Array,
        dst: int,
        tag: int = 0,
        *,
        async_op: Literal[True],
        stream: Stream | None = None,
    ) -> Work[None]: ...
    def send(
        self,
        array: Array,
        dst: int,
        tag: int = 0,
        *,
        async_op: bool = False,
        stream: Stream | None = None,
    ) -> Work[None] | None:
        """Send an array to rank ``dst``.

        Returns when the array may be changed again, which may be before it has been received.

        Parameters
        ----------
        array : array
            Of any size and dtype, as for collectives.
        dst : int
            Another rank.
        tag : int
            From 0 up to, not including, `tags`.
        """
        work = Work(self._core.send(array, dst, tag, stream), None)
        return work if async_op else work.wait()

    @overload
    def recv(
        self,
        array: Array,
        src: int,
        tag: int = 0,
        *,
        async_op: Literal[False] = False,
        stream: Stream | None = None,
    ) -> Array: ...
    @overload
    def recv(
        self,
        array: Array,
        src: int,
        tag: int = 0,
        *,
        async_op: Literal[True],
        stream: Stream | None = None,
    ) -> Work[Array]: ...
    def recv(
        self,
        array: Array,
        src: int,
        tag: int = 0,
        *,
        async_op: bool = False,
        stream: Stream | None = None,
    ) -> Array | Work[Array]:
        """Receive an array from rank ``src``.

        Parameters
        ----------
        array : array
            Where to put it; of the same number of bytes as what was sent.
        src : int
            Another rank.
        tag : int
            The tag that it was sent with.

        Returns
        -------
        array or Work
            ``array`` itself.

        Raises
        ------
        CollectiveError
            When a message of another length arrived. The communicator can no longer be used.
        """
        work = Work(self._core.recv(array, src, tag, stream), array)
        return work if async_op else work.wait()
