"""A communicator of one rank that notes what is asked of it."""

from __future__ import annotations

from typing import Any

import numpy as np


class RecordedWork:
    def __init__(self, comm: RecordedCommunicator, array: np.ndarray) -> None:
        self.comm = comm
        self.array = array

    def wait(self, timeout: float | None = None) -> np.ndarray:
        self.comm.waited.append(self.array)
        return self.array

    def test(self) -> bool:
        return True


class RecordedCommunicator:
    """It moves nothing: with one rank, nothing is to be done.

    Attributes
    ----------
    launched, waited : list of array
        Arrays of asynchronous reductions, when they were started and waited for.
    contents : list of array
        What the launched arrays held then.
    calls : list of str
        The kinds of the launched operations.
    """

    def __init__(self, rank: int = 0) -> None:
        self.rank = rank
        self.size = self.local_size = 1
        self.local_rank = 0
        self.launched: list[np.ndarray] = []
        self.contents: list[np.ndarray] = []
        self.waited: list[np.ndarray] = []
        self.calls: list[str] = []
        self.barriers = 0

    def all_reduce(self, array: np.ndarray, *, op: str = "sum", async_op: bool = False) -> Any:
        if not async_op:
            return array
        return self._launch("all_reduce", array)

    def reduce_scatter(self, array: np.ndarray, out: np.ndarray, **_: Any) -> RecordedWork:
        assert np.shares_memory(array, out)
        return self._launch("reduce_scatter", array)

    def all_gather(self, array: np.ndarray, out: np.ndarray | None = None, **_: Any) -> Any:
        if out is None:
            return array
        assert np.shares_memory(array, out)
        return self._launch("all_gather", array)

    def all_gather_v(self, array: np.ndarray, counts: list[int]) -> np.ndarray:
        assert counts == [len(array)]
        return array

    def _launch(self, call: str, array: np.ndarray) -> RecordedWork:
        self.calls.append(call)
        self.launched.append(array)
        self.contents.append(array.copy())
        return RecordedWork(self, array)

    def zeros(self, shape: int, dtype: Any, device: str) -> np.ndarray:
        assert device == "cpu"
        return np.zeros(shape, dtype)

    def broadcast(self, array: np.ndarray, root: int = 0) -> np.ndarray:
        return array

    def barrier(self) -> None:
        self.barriers += 1
