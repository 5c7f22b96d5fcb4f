"""Collective operations on equal parts."""

from __future__ import annotations

from typing import Literal, overload

from pycoll.arrays import Array, empty_like, rows_of, share_rows
from pycoll.calling import Caller, Op, shortcut
from pycoll.work import Stream, Work


class Collectives(Caller):
    """The collective operations in which every rank has a part of the same size.

    All share some conventions:

    - Arrays are anything with the buffer protocol, DLPack or ``__cuda_array_interface__``, on the
      host (NumPy, ml_dtypes' bfloat16, PyTorch and JAX CPU tensors) or on a CUDA GPU (CuPy,
      PyTorch, JAX, Numba); they must be C-contiguous, and are never copied. All arrays of a call
      lie on the host, or all on one GPU, and it is the one or the other on all ranks.
      Their dtypes are bool, the integers of 8 to 64 bits, float16, bfloat16, float32 and float64.
    - Where the result has the size of the argument, it replaces the argument unless ``out`` is
      given. Where it is larger or smaller, parts lie side by side along the first axis, in the
      order of the ranks, and a new array is returned unless ``out`` is given.
    - ``op`` is "sum", "prod", "min", "max", "avg" (for integers truncated towards zero), or
      bitwise (logical for bool) "band", "bor", "bxor". float16 and bfloat16 are folded in
      float32. All ranks get the same bits, in every run.
    - ``algorithm`` is "auto" or a name that ``python -m pycoll info`` lists; ``chunk_bytes``
      the length of the pieces in which a pipelined algorithm sends, by default chosen for you.
      Both must be the same on all ranks.
    - With ``async_op=True`` a call returns a `Work` at once; ``work.wait()`` returns the result.
    - ``stream`` is for arrays on a GPU: the call comes after what is on this CUDA stream by then.
      It is a pointer as an integer, anything with ``__cuda_stream__``, or a stream of CuPy, PyTorch
      or Numba. By default it is the current stream of the library whose arrays they are, as
      PyTorch, DLPack and the CUDA array interface (version 3) tell it, and CUDA's legacy default
      stream for arrays that name none. Without ``async_op`` a call returns when the result is
      there, for any stream; else see `Work.wait`. A stream that is being captured into a CUDA graph
      raises `CudaError`: the host takes part in every call, which a graph cannot record.
    - A wrong argument raises ``TypeError`` or ``ValueError`` on the calling rank before anything
      is sent, and the communicator can still be used. `CollectiveError` says that the operation
      failed, `TimeoutError` that a peer did not take part in time, and `CudaError` that CUDA failed
      (or is missing, where arrays lie on a GPU: then nothing was sent, either).
    """

    @overload
    def all_reduce(
        self,
        array: Array,
        out: Array | None = None,
        *,
        op: Op = "sum",
        algorithm: str = "auto",
        chunk_bytes: int = 0,
        async_op: Literal[False] = False,
        stream: Stream | None = None,
    ) -> Array: ...
    @overload
    def all_reduce(
        self,
        array: Array,
        out: Array | None = None,
        *,
        op: Op = "sum",
        algorithm: str = "auto",
        chunk_bytes: int = 0,
        async_op: Literal[True],
        stream: Stream | None = None,
    ) -> Work[Array]: ...
    @shortcut
    def all_reduce(
        self,
        array: Array,
        out: Array | None = None,
        *,
        op: Op = "sum",
        algorithm: str = "auto",
        chunk_bytes: int = 0,
        async_op: bool = False,
        stream: Stream | None = None,
    ) -> Array | Work[Array]:
        """Fold the arrays of all ranks element by element; every rank gets the result.

        Parameters
        ----------
        array : array
            Of the same size and dtype on all ranks.
        out : array, optional
            For the result; of the size and dtype of ``array``. In place when omitted.

        Returns
        -------
        array or Work
            ``out``, or ``array`` itself.
        """
        target = array if out is None else out
        return self._call(
            "all_reduce",
            array,
            target,
            target,
            op=op,
            algorithm=algorithm,
            chunk_bytes=chunk_bytes,
            async_op=async_op,
            stream=stream,
        )

    @overload
    def reduce(
        self,
        array: Array,
        out: Array | None = None,
        *,
        root: int = 0,
        op: Op = "sum",
        algorithm: str = "auto",
        chunk_bytes: int = 0,
        async_op: Literal[False] = False,
        stream: Stream | None = None,
    ) -> Array | None: ...
    @overload
    def reduce(
        self,
        array: Array,
        out: Array | None = None,
        *,
        root: int = 0,
        op: Op = "sum",
        algorithm: str = "auto",
        chunk_bytes: int = 0,
        async_op: Literal[True],
        stream: Stream | None = None,
    ) -> Work[Array | None]: ...
    @shortcut
    def reduce(
        self,
        array: Array,
        out: Array | None = None,
        *,
        root: int = 0,
        op: Op = "sum",
        algorithm: str = "auto",
        chunk_bytes: int = 0,
        async_op: bool = False,
        stream: Stream | None = None,
    ) -> Array | Work[Array | None] | None:
        """Fold the arrays of all ranks element by element; ``root`` gets the result.

        Parameters
        ----------
        array : array
            Of the same size and dtype on all ranks; unchanged except at the root.
        out : array, optional
            For the result, at the root; of the size and dtype of ``array``. In place when
            omitted. Other ranks do not use it.

        Returns
        -------
        array, None or Work
            ``out`` or ``array`` at the root, None elsewhere.
        """
        root = self._root("reduce", root)
        target = (array if out is None else out) if self.rank == root else None
        return self._call(
            "reduce",
            array,
            target,
            target,
            root=root,
            op=op,
            algorithm=algorithm,
            chunk_bytes=chunk_bytes,
            async_op=async_op,
            stream=stream,
        )

    @overload
    def broadcast(
        self,
        array: Array,
        *,
        root: int = 0,
        algorithm: str = "auto",
        chunk_bytes: int = 0,
        async_op: Literal[False] = False,
        stream: Stream | None = None,
    ) -> Array: ...
    @overload
    def broadcast(
        self,
        array: Array,
        *,
        root: int = 0,
        algorithm: str = "auto",
        chunk_bytes: int = 0,
        async_op: Literal[True],
        stream: Stream | None = None,
    ) -> Work[Array]: ...
    @shortcut
    def broadcast(
        self,
        array: Array,
        *,
        root: int = 0,
        algorithm: str = "auto",
        chunk_bytes: int = 0,
        async_op: bool = False,
        stream: Stream | None = None,
    ) -> Array | Work[Array]:
        """Copy the root's array into the arrays of all other ranks.

        Parameters
        ----------
        array : array
            Of the same size and dtype on all ranks; may be read-only at the root.

        Returns
        -------
        array or Work
            ``array`` itself.
        """
        root = self._root("broadcast", root)
        return self._call(
            "broadcast",
            array if self.rank == root else None,
            array,
            array,
            root=root,
            algorithm=algorithm,
            chunk_bytes=chunk_bytes,
            async_op=async_op,
            stream=stream,
        )

    @overload
    def reduce_scatter(
        self,
        array: Array,
        out: Array | None = None,
        *,
        op: Op = "sum",
        algorithm: str = "auto",
        chunk_bytes: int = 0,
        async_op: Literal[False] = False,
        stream: Stream | None = None,
    ) -> Array: ...
    @overload
    def reduce_scatter(
        self,
        array: Array,
        out: Array | None = None,
        *,
        op: Op = "sum",
        algorithm: str = "auto",
        chunk_bytes: int = 0,
        async_op: Literal[True],
        stream: Stream | None = None,
    ) -> Work[Array]: ...
    @shortcut
    def reduce_scatter(
        self,
        array: Array,
        out: Array | None = None,
        *,
        op: Op = "sum",
        algorithm: str = "auto",
        chunk_bytes: int = 0,
        async_op: bool = False,
        stream: Stream | None = None,
    ) -> Array | Work[Array]:
        """Fold the arrays of all ranks element by element; rank r gets the r-th part.

        Parameters
        ----------
        array : array, shape (size * n, ...)
            Of the same size and dtype on all ranks. Unchanged, unless ``out`` lies in it.
        out : array, shape (n, ...), optional
            A new array when omitted. It may be this rank's own part of ``array`` (in place).

        Returns
        -------
        array or Work
            ``out``.
        """
        new_out = out is None
        if out is None:
            with self._naming("reduce_scatter"):
                out = empty_like(array, share_rows(array, self.size))
        return self._call(
            "reduce_scatter",
            array,
            out,
            out,
            op=op,
            algorithm=algorithm,
            chunk_bytes=chunk_bytes,
            async_op=async_op,
            stream=stream,
            new_out=new_out,
        )

    @overload
    def all_gather(
        self,
        array: Array,
        out: Array | None = None,
        *,
        algorithm: str = "auto",
        chunk_bytes: int = 0,
        async_op: Literal[False] = False,
        stream: Stream | None = None,
    ) -> Array: ...
    @overload
    def all_gather(
        self,
        array: Array,
        out: Array | None = None,
        *,
        algorithm: str = "auto",
        chunk_bytes: int = 0,
        async_op: Literal[True],
        stream: Stream | None = None,
    ) -> Work[Array]: ...
    @shortcut
    def all_gather(
        self,
        array: Array,
        out: Array | None = None,
        *,
        algorithm: str = "auto",
        chunk_bytes: int = 0,
        async_op: bool = False,
        stream: Stream | None = None,
    ) -> Array | Work[Array]:
        """Put the arrays of all ranks side by side; every rank gets the result.

        Parameters
        ----------
        array : array, shape (n, ...)
            Of the same size and dtype on all ranks. It may be this rank's own part of ``out``
            (in place).
        out : array, shape (size * n, ...), optional
            A new array when omitted.

        Returns
        -------
        array or Work
            ``out``.
        """
        new_out = out is None
        if out is None:
            with self._naming("all_gather"):
                out = empty_like(array, rows_of(array) * self.size)
        return self._call(
            "all_gather",
            array,
            out,
            out,
            algorithm=algorithm,
            chunk_bytes=chunk_bytes,
            async_op=async_op,
            stream=stream,
            new_out=new_out,
        )

    @overload
    def gather(
        self,
        array: Array,
        out: Array | None = None,
        *,
        root: int = 0,
        algorithm: str = "auto",
        async_op: Literal[False] = False,
        stream: Stream | None = None,
    ) -> Array | None: ...
    @overload
    def gather(
        self,
        array: Array,
        out: Array | None = None,
        *,
        root: int = 0,
        algorithm: str = "auto",
        async_op: Literal[True],
        stream: Stream | None = None,
    ) -> Work[Array | None]: ...
    @shortcut
    def gather(
        self,
        array: Array,
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
        array : array, shape (n, ...)
            Of the same size and dtype on all ranks. At the root it may be the root's own part of
            ``out`` (in place).
        out : array, shape (size * n, ...), optional
            At the root; a new array when omitted. Other ranks do not use it.

        Returns
        -------
        array, None or Work
            ``out`` at the root, None elsewhere.
        """
        new_out = out is None
        root = self._root("gather", root)
        if self.rank != root:
            out = None
        elif out is None:
            with self._naming("gather"):
                out = empty_like(array, rows_of(array) * self.size)
        return self._call(
            "gather",
            array,
            out,
            out,
            root=root,
            algorithm=algorithm,
            async_op=async_op,
            stream=stream,
            new_out=new_out,
        )

    @overload
    def scatter(
        self,
        array: Array | None,
        out: Array | None = None,
        *,
        root: int = 0,
        algorithm: str = "auto",
        async_op: Literal[False] = False,
        stream: Stream | None = None,
    ) -> Array: ...
    @overload
    def scatter(
        self,
        array: Array | None,
        out: Array | None = None,
        *,
        root: int = 0,
        algorithm: str = "auto",
        async_op: Literal[True],
        stream: Stream | None = None,
    ) -> Work[Array]: ...
    @shortcut
    def scatter(
        self,
        array: Array | None,
        out: Array | None = None,
        *,
        root: int = 0,
        algorithm: str = "auto",
        async_op: bool = False,
        stream: Stream | None = None,
    ) -> Array | Work[Array]:
        """Hand out the root's array: rank r gets the r-th part.

        Parameters
        ----------
        array : array, shape (size * n, ...)
            At the root. Other ranks do not use it and may pass None.
        out : array, shape (n, ...)
            Only the root may omit it: other ranks do not know the size. At the root it may be the
            root's own part of ``array`` (in place).

        Returns
        -------
        array or Work
            ``out``.
        """
        new_out = out is None
        root = self._root("scatter", root)
        if self.rank != root:
            array = None
        elif array is None:
            with self._naming("scatter"):
                raise TypeError("'array' is missing; the root must pass what it hands out")
        if out is None:
            with self._naming("scatter"):
                if array is None:
                    raise TypeError("'out' is missing; ranks other than the root must pass it")
                out = empty_like(array, share_rows(array, self.size))
        return self._call(
            "scatter",
            array,
            out,
            out,
            root=root,
            algorithm=algorithm,
            async_op=async_op,
            stream=stream,
            new_out=new_out,
        )

    @overload
    def all_to_all(
        self,
        array: Array,
        out: Array | None = None,
        *,
        algorithm: str = "auto",
        async_op: Literal[False] = False,
        stream: Stream | None = None,
    ) -> Array: ...
    @overload
    def all_to_all(
        self,
        array: Array,
        out: Array | None = None,
        *,
        algorithm: str = "auto",
        async_op: Literal[True],
        stream: Stream | None = None,
    ) -> Work[Array]: ...
    @shortcut
    def all_to_all(
        self,
        array: Array,
        out: Array | None = None,
        *,
        algorithm: str = "auto",
        async_op: bool = False,
        stream: Stream | None = None,
    ) -> Array | Work[Array]:
        """Send the r-th part of the array to rank r, and get one part from each rank.

        Parameters
        ----------
        array : array, shape (size * n, ...)
            Of the same size and dtype on all ranks. Unchanged.
        out : array, shape (size * n, ...), optional
            Part r is what rank r sent. A new array when omitted; it must not overlap ``array``.

        Returns
        -------
        array or Work
            ``out``.
        """
        new_out = out is None
        if out is None:
            with self._naming("all_to_all"):
                share_rows(array, self.size)
                out = empty_like(array, None)
        return self._call(
            "all_to_all",
            array,
            out,
            out,
            algorithm=algorithm,
            async_op=async_op,
            stream=stream,
            new_out=new_out,
        )

    @overload
    def barrier(self, *, async_op: Literal[False] = False) -> None: ...
    @overload
    def barrier(self, *, async_op: Literal[True]) -> Work[None]: ...
    @shortcut
    def barrier(self, *, async_op: bool = False) -> Work[None] | None:
        """Wait until every rank has called it."""
        work: Work[None] | None = self._call("barrier", None, None, None, async_op=async_op)
        return work
