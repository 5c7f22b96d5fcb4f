"""Gloo, as PyTorch carries it. Its ranks meet through a file; see `launching`."""

# ruff: noqa: D102 (the methods are documented in Library)

from __future__ import annotations

import atexit
import os
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from . import Array, Call, Library


class Gloo:
    """torch.distributed's calls on CPU tensors that share the arrays' memory."""

    def __init__(self) -> None:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{os.environ['GLOO_MEETING_FILE']}",
            rank=int(os.environ["RANK"]),
            world_size=int(os.environ["WORLD_SIZE"]),
        )
        # Its threads must have ended when the interpreter ends; else the process aborts.
        atexit.register(dist.destroy_process_group)
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.version = f"Gloo of PyTorch {torch.__version__}"

    def empty(self, count: int) -> Array:
        return np.empty(count, np.float32)

    def all_reduce(self, vector: Array) -> Call:
        return partial(dist.all_reduce, torch.from_numpy(vector))

    def reduce(self, vector: Array) -> Call:
        return partial(dist.reduce, torch.from_numpy(vector), 0)

    def broadcast(self, vector: Array) -> Call:
        return partial(dist.broadcast, torch.from_numpy(vector), 0)

    def reduce_scatter(self, blocks: Array, block: Array) -> Call:
        function = _newest("reduce_scatter_single", "reduce_scatter_tensor")
        return partial(function, torch.from_numpy(block), torch.from_numpy(blocks))

    def all_gather(self, block: Array, blocks: Array) -> Call:
        function = _newest("all_gather_single", "all_gather_into_tensor")
        return partial(function, torch.from_numpy(blocks), torch.from_numpy(block))

    def all_to_all(self, blocks: Array, received: Array) -> Call:
        return partial(dist.all_to_all_single, torch.from_numpy(received), torch.from_numpy(blocks))

    def barrier(self) -> None:
        dist.barrier()

    def maximum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        largest = values.copy()
        dist.all_reduce(torch.from_numpy(largest), dist.ReduceOp.MAX)
        return largest


def _newest(name: str, former_name: str) -> Any:
    """Return a function under the name that this version of PyTorch knows it by."""
    return getattr(dist, name, None) or getattr(dist, former_name)


def open_library(*, memory: str) -> Library:
    """Return Gloo on all ranks of the run."""
    assert memory == "numpy", "Gloo gives no memory"
    return Gloo()
