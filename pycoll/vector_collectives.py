"""Collective operations on parts of different sizes (MPI's v-forms)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

from pycoll.arrays import Array, elements_of, empty_like, row_counts
from pycoll.calling import Caller, Op
from pycoll.work import Stream, Work


class VectorCollectives(Caller):
    """The operations of `Collectives` for parts of different sizes.

    ``counts[r]`` is the length of rank r's part along the first axis; 0 is a length. The
    conventions are those of `Collectives`.
    """

    @overload
    def reduce_scatter_v(
        self,
        array: Array,
        counts: Sequence[int],
        out: Array | None = None,
        *,
        op: Op = "sum",
        algorithm: str = "auto",
        async_op: Literal[False] = False,
        stream: Stream | None = None,
    ) -> Array: ...
    @overload
    def reduce_scatter_v(
        self,
        array: Array,
        counts: Sequence[int],
        out: Array | None = None,
        *,
        op: Op = "sum",
        algorithm: str = "auto",
        async_op: Literal[True],
        stream: Stream | None = None,
    ) -> Work[Array]: ...
    def reduce_scatter_v(
        self,
        array: Array,
        counts: Sequence[int],
        out: Array | None = None,
        *,
        op: Op = "sum",
        algorithm: str = "auto",
        async_op: bool = False,
        stream: Stream | None = None,
    ) -> Array | Work[Array]:
        """Fold the arrays of all ranks element by element; rank r gets ``counts[r]`` rows.

        Parameters
        ----------
        array : array, shape (sum(counts), ...)
        counts : sequence of int
            The same on all ranks.
        out : array, shape (counts[rank], ...), optional
            A new array when omitted. It may be this rank's own part of ``array`` (in place).

        Returns
        -------
        array or Work
            ``out``.
        """
        new_out = out is None
        with self._naming("reduce_scatter_v"):
            rows = row_counts("counts", counts, self.size)
            elements = elements_of("counts", rows, array)
            if out is None:
                out = empty_like(array, rows[self.rank])
        return self._call(
            "reduce_scatter",
            array,
            out,
            out,
            counts=elements,
            op=op,
            algorithm=algorithm,
            async_op=async_op,
            stream=stream,
            new_out=new_out,
        )

    @overload
    def all_gather_v(
        self,
        array: Array,
        counts: Sequence[int],
        out: Array | None = None,
        *,
        algorithm: str = "auto",
        async_op: Literal[False] = False,
        stream: Stream | None = None,
    ) -> Array: ...
    @overload
    def all_gather_v(
        self,
        array: Array,
        counts: Sequence[int],
        out: Array | None = None,
        *,
        algorithm: str = "auto",
        async_op: Literal[True],
        stream: Stream | None = None,
    ) -> Work[Array]: ...
    def all_gather_v(
        self,
        array: Array,
        counts: Sequence[int],
        out: Array | None = None,
        *,
        algorithm: str = "auto",
        async_op: bool = False,
        stream: Stream | None = None,
    ) -> Array | Work[Array]:
        """Put the arrays of all ranks side by side; every rank gets the result.

        Parameters
        ----------
        array : array, shape (counts[rank], ...)
            It may be this rank's own part of ``out`` (in place).
        counts : sequence of int
            The same on all ranks.
        out : array, shape (sum(counts), ...), optional
            A new array when omitted.

        Returns
        -------
        array or Work
            ``out``.
        """
        new_out = out is None
        with self._naming("all_gather_v"):
            rows = row_counts("counts", counts, self.size)
            elements = elements_of("counts", rows, array)
            if out is None:
                out = empty_like(array, sum(rows))
        return self._call(
            "all_gather",
            array,
            out,
            out,
            counts=elements,
            algorithm=algorithm,
            async_op=async_op,
            stream=stream,
            new_out=new_out,
        )

    @overload
    def gather_v(
        self,
        array: Array,
        counts: Sequence[int],
        out: Array | None = None,
        *,
        root: int = 0,
        algorithm: str = "auto",
        async_op: Literal[False] = False,
        stream: Stream | None = None,
    ) -> Array | None: ...
    @overload
    def gather_v(
        self,
        array: Array,
        counts: Sequence[int],
        out: Array | None = None,
        *,
        root: int = 0,
        algorithm: str = "auto",
        async_op: Literal[True],
        stream: Stream | None = None,
    ) -> Work[Array | None]: ...
    def gather_v(
        self,
        array: Array,
        counts: Sequence[int],
        out: Array | None = None,
        *,
        root: int = 0,
        algorithm: str = "auto",
        async_op: bool = False,
        stream: Stream | None = None,
    ) -> Array | Work[Array | None] | None:
        """Put the arrays of all ranks side by side; ``root`` gets the result.

        Parameters
        ----------
        array : array, shape (counts[rank], ...)
            At the root it may be the root's own part of ``out`` (in place).
        counts : sequence of int
            The same on all ranks.
        out : array, shape (sum(counts), ...), optional
            At the root; a new array when omitted. Other ranks do not use it.

        Returns
        -------
        array, None or Work
            ``out`` at the root, None elsewhere.
        """
        new_out = out is None
        root = self._root("gather_v", root)
        with self._naming("gather_v"):
            rows = row_counts("counts", counts, self.size)
            elements = elements_of("counts", rows, array)
            if self.rank != root:
                out = None
            elif out is None:
                out = empty_like(array, sum(rows))
        return self._call(
            "gather",
            array,
            out,
            out,
            counts=elements,
            root=root,
            algorithm=algorithm,
            async_op=async_op,
            stream=stream,
            new_out=new_out,
        )

    @overload
    def scatter_v(
        self,
        array: Array | None,
        counts: Sequence[int],
        out: Array | None = None,
        *,
        root: int = 0,
        algorithm: str = "auto",
        async_op: Literal[False] = False,
        stream: Stream | None = None,
    ) -> Array: ...
    @overload
    def scatter_v(
        self,
        array: Array | None,
        counts: Sequence[int],
        out: Array | None = None,
        *,
        root: int = 0,
        algorithm: str = "auto",
        async_op: Literal[True],
        stream: Stream | None = None,
    ) -> Work[Array]: ...
    def scatter_v(
        self,
        array: Array | None,
        counts: Sequence[int],
        out: Array | None = None,
        *,
        root: int = 0,
        algorithm: str = "auto",
        async_op: bool = False,
        stream: Stream | None = None,
    ) -> Array | Work[Array]:
        """Hand out the root's array: rank r gets ``counts[r]`` rows.

        Parameters
        ----------
        array : array, shape (sum(counts), ...)
            At the root. Other ranks do not use it and may pass None.
        counts : sequence of int
            The same on all ranks.
        out : array, shape (counts[rank], ...)
            Only the root may omit it. At the root it may be the root's own part of ``array`` (in
            place).

        Returns
        -------
        array or Work
            ``out``.
        """
        new_out = out is None
        root = self._root("scatter_v", root)
        with self._naming("scatter_v"):
            if self.rank != root:
                array = None
            elif array is None:
                raise TypeError("'array' is missing; the root must pass what it hands out")
            if out is None and array is None:
                raise TypeError("'out' is missing; ranks other than the root must pass it")
            rows = row_counts("counts", counts, self.size)
            elements = elements_of("counts", rows, out if array is None else array)
            if out is None:
                out = empty_like(array, rows[self.rank])
        return self._call(
            "scatter",
            array,
            out,
            out,
            counts=elements,
            root=root,
            algorithm=algorithm,
            async_op=async_op,
            stream=stream,
            new_out=new_out,
        )

    @overload
    def all_to_all_v(
        self,
        array: Array,
        send_counts: Sequence[int],
        recv_counts: Sequence[int],
        out: Array | None = None,
        *,
        algorithm: str = "auto",
        async_op: Literal[False] = False,
        stream: Stream | None = None,
    ) -> Array: ...
    @overload
    def all_to_all_v(
        self,
        array: Array,
        send_counts: Sequence[int],
        recv_counts: Sequence[int],
        out: Array | None = None,
        *,
        algorithm: str = "auto",
        async_op: Literal[True],
        stream: Stream | None = None,
    ) -> Work[Array]: ...
    def all_to_all_v(
        self,
        array: Array,
        send_counts: Sequence[int],
        recv_counts: Sequence[int],
        out: Array | None = None,
        *,
        algorithm: str = "auto",
        async_op: bool = False,
        stream: Stream | None = None,
    ) -> Array | Work[Array]:
        """Send ``send_counts[r]`` rows to each rank r, and get ``recv_counts[r]`` from it.

        Parameters
        ----------
        array : array, shape (sum(send_counts), ...)
            Unchanged.
        send_counts, recv_counts : sequence of int
            What rank a sends to rank b must be what rank b receives from rank a.
        out : array, shape (sum(recv_counts), ...), optional
            A new array when omitted; it must not overlap ``array``.

        Returns
        -------
        array or Work
            ``out``.
        """
        new_out = out is None
        with self._naming("all_to_all_v"):
            sent_rows = row_counts("send_counts", send_counts, self.size)
            received_rows = row_counts("recv_counts", recv_counts, self.size)
            sent = elements_of("send_counts", sent_rows, array)
            received = elements_of("recv_counts", received_rows, array)
            if out is None:
                out = empty_like(array, sum(received_rows))
        return self._call(
            "all_to_all",
            array,
            out,
            out,
            counts=sent,
            recv_counts=received,
            algorithm=algorithm,
            async_op=async_op,
            stream=stream,
            new_out=new_out,
        )
