"""Work on streams of a GPU, put there by the libraries whose arrays are tested."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

# Some 20 ms of work, or more, are so many products of square matrices of this width.
PRODUCTS, WIDTH = 10, 4096


class CupyWork:
    """By CuPy, on the current GPU."""

    def __init__(self) -> None:
        self._cupy: Any = importlib.import_module("cupy")

    def stream(self) -> Any:
        """Return a stream that does not wait for the default one."""
        return self._cupy.cuda.Stream(non_blocking=True)

    def on(self, stream: Any) -> Any:
        """Make a stream the current one for a block."""
        return stream

    def synchronize(self) -> None:
        self._cupy.cuda.Device().synchronize()

    def zeros(self, count: int) -> Any:
        return self._cupy.zeros(count, np.float32)

    def fill(self, array: Any, value: float) -> None:
        array.fill(value)

    def copy(self, target: Any, source: Any) -> None:
        self._cupy.copyto(target, source)

    def to_host(self, array: Any) -> Any:
        return array.get()

    def keep_busy(self) -> None:
        matrix = self._cupy.ones((WIDTH, WIDTH), np.float32)
        for _ in range(PRODUCTS):
            self._cupy.matmul(matrix, matrix)

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        """Capture a stream of its own, the current one for the block, into a graph."""
        stream = self.stream()
        array = self.zeros(1)
        self.synchronize()
        with stream:
            stream.begin_capture()
            try:
                yield
                array.fill(1)
            finally:
                stream.end_capture()


class TorchWork:
    """By PyTorch, on the current GPU."""

    def __init__(self) -> None:
        self._torch: Any = importlib.import_module("torch")

    def stream(self) -> Any:
        """Return a stream that does not wait for the default one."""
        return self._torch.cuda.Stream()

    def on(self, stream: Any) -> Any:
        """Make a stream the current one for a block."""
        return self._torch.cuda.stream(stream)

    def synchronize(self) -> None:
        self._torch.cuda.synchronize()

    def zeros(self, count: int) -> Any:
        return self._torch.zeros(count, device="cuda")

    def fill(self, array: Any, value: float) -> None:
        array.fill_(value)

    def copy(self, target: Any, source: Any) -> None:
        target.copy_(source)

    def to_host(self, array: Any) -> Any:
        return array.cpu().numpy()

    def keep_busy(self) -> None:
        matrix = self._torch.ones(WIDTH, WIDTH, device="cuda")
        for _ in range(PRODUCTS):
            self._torch.matmul(matrix, matrix)

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        """Capture a stream of its own, the current one for the block, into a graph."""
        array = self.zeros(1)
        self.synchronize()
        with self._torch.cuda.graph(self._torch.cuda.CUDAGraph()):
            yield
            array.fill_(1)


Work: TypeAlias = CupyWork | TorchWork
