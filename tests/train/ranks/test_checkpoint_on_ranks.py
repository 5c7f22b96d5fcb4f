"""Checkpoints written in one mesh and resumed in another: every bit is where it belongs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import pycoll
from pycoll.train import (
    AdamW,
    CheckpointWriter,
    DataParallel,
    Held,
    Parameter,
    RefusedError,
    held_by,
    load_checkpoint,
    shard,
)
from pycoll.train.layers.shard import Shard
from pycoll.train.verdict import broadcast_text

comm = pycoll.world()
Mesh = tuple[int, int, int]

LAYERS, HEADS, WIDTH = 4, 3, 2
SHAPES = {"qkv": (5, 3 * HEADS * WIDTH), "out": (HEADS * WIDTH, 5), "norm": (5,)}


def whole_values(name: str) -> np.ndarray:
    generator = np.random.default_rng([ord(letter) for letter in name])
    return generator.standard_normal(SHAPES[name.split(".")[-1]]).astype(np.float32)


def whole_gradient(name: str, step: int) -> np.ndarray:
    return whole_values(f"{step}.{name}")


def shard_of(kind: str, rank: int, size: int) -> Shard | None:
    """Return a rank's heads, in queries, keys and values; uneven where ranks do not divide them."""
    heads = shard(HEADS, rank, size)
    start, stop = heads.start * WIDTH, heads.stop * WIDTH
    if kind == "qkv":
        ranges = tuple((start + at, stop + at) for at in (k * HEADS * WIDTH for k in range(3)))
        return Shard(SHAPES[kind], 1, ranges)
    return Shard(SHAPES[kind], 0, ((start, stop),)) if kind == "out" else None


@dataclass
class Run:
    """Hand-made layers in a mesh (dp, tp, pp); gradients are such that sums over dp are exact."""

    comm: pycoll.Communicator
    mesh: Mesh
    zero: int
    weights: dict[str, Parameter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dp, tp, pp = self.mesh
        rank = self.comm.rank
        self.tp_rank, self.pp_rank = rank % tp, rank // (dp * tp)
        self.dp = self.comm.split(self.pp_rank * tp + self.tp_rank)
        for layer in range(LAYERS)[shard(LAYERS, self.pp_rank, pp)]:
            for kind in SHAPES:
                part = shard_of(kind, self.tp_rank, tp)
                data = whole_values(f"{layer}.{kind}")
                data = data if part is None else part.part_of(data)
                weight = Parameter(data, np.zeros_like(data), part)
                self.weights[f"{layer}.{kind}"] = weight
        self.parallel = DataParallel(list(self.weights.items()), self.dp, 100, zero=self.zero)
        self.optimizer = AdamW(self.parallel.parameters)

    def step(self, number: int) -> None:
        share = 1.0 if self.dp.rank == 0 else 0.0
        with self.parallel.reducing():
            for name, weight in self.weights.items():
                gradient = whole_gradient(name, number) * np.float32(share)
                if weight.shard is not None:
                    gradient = weight.shard.part_of(gradient)
                weight.accumulate(np.positive, gradient)
        self.parallel.step(self.optimizer, 0.01)

    def held(self) -> list[Held]:
        return held_by(self.parallel.parameters, self.optimizer)

    def save(self, root: Path, step: int) -> None:
        writer = CheckpointWriter(self.comm)
        writer.save(root, self.held(), {"step": step})
        writer.wait()

    def resume(self, root: Path) -> None:
        replicas = None if self.zero else self.dp
        load_checkpoint(self.comm, root, self.held(), {}, replicas)
        self.parallel.spread()

    def require(self, expected: dict[str, np.ndarray]) -> None:
        """All that this rank holds is bitwise what one process has after as many steps."""
        for one in self.held():
            part = expected[one.name]
            if one.place.shard is not None:
                part = one.place.shard.part_of(part)
            part = part.reshape(-1)[one.place.start : one.place.stop]
            np.testing.assert_array_equal(one.array.reshape(-1), part, err_msg=one.name)
        for name, weight in self.weights.items():
            part = expected[f"model.{name}"]
            part = part if weight.shard is None else weight.shard.part_of(part)
            np.testing.assert_array_equal(weight.data, part, err_msg=name)


@cache
def on_one_process(steps: int) -> dict[str, np.ndarray]:
    """Return the state after some steps by name, without any communication."""
    weights = [
        (name, Parameter(whole_values(name), np.zeros_like(whole_values(name))))
        for name in (f"{layer}.{kind}" for layer in range(LAYERS) for kind in SHAPES)
    ]
    optimizer = AdamW(weights)
    for step in range(steps):
        for name, weight in weights:
            weight.grad[...] = whole_gradient(name, step)
        optimizer.step(0.01)
    return {one.name: one.array for one in held_by(weights, optimizer)}


# Saved in the first, resumed in the second, saved again, resumed in the third, and so on.
CHAINS: dict[int, list[Mesh]] = {
    1: [(1, 1, 1), (1, 1, 1)],
    2: [(2, 1, 1), (1, 2, 1), (1, 1, 2), (2, 1, 1)],
    3: [(1, 3, 1), (3, 1, 1), (1, 1, 3), (1, 3, 1)],
    4: [(2, 2, 1), (1, 2, 2), (4, 1, 1), (2, 1, 2), (2, 2, 1)],
    5: [(5, 1, 1), (5, 1, 1)],
    7: [(7, 1, 1), (7, 1, 1)],
    8: [(2, 2, 2), (8, 1, 1), (4, 2, 1), (1, 2, 4), (4, 1, 2), (2, 2, 2)],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that all ranks share."""
    return Path(broadcast_text(comm, str(tmp_path)))


@pytest.mark.parametrize("zeros", [(1, 1), (1, 0)])
def test_a_run_goes_on_bitwise_from_mesh_to_mesh(folder: Path, zeros: tuple[int, int]) -> None:
    """Every second mesh has ZeRO or not; at each stop one rank alone takes everything, too."""
    steps = 0
    for number, mesh in enumerate(CHAINS[comm.size]):
        run = Run(comm, mesh, zeros[number % 2])
        if number:
            run.resume(folder)
        run.require(on_one_process(steps))
        for _ in range(2):
            run.step(steps)
            steps += 1
        run.require(on_one_process(steps))
        run.save(folder, steps)
    alone = comm.split(0 if comm.rank == 0 else None)
    if alone is not None:
        for zero in (0, 1):
            single = Run(alone, (1, 1, 1), zero)
            single.resume(folder)
            single.require(on_one_process(steps))
        single.step(steps)
        single.save(folder, steps + 1)
    comm.barrier()
    back = Run(comm, CHAINS[comm.size][0], 1)
    back.resume(folder)
    back.require(on_one_process(steps + 1))


def test_only_what_is_needed_is_read(folder: Path) -> None:
    """With the same mesh and ZeRO, each rank reads its own file, and rank 0's with the rest."""
    run = Run(comm, (comm.size, 1, 1), 1)
    run.save(folder, 0)
    opened: list[str] = []
    read_bytes = Path.read_bytes
    with pytest.MonkeyPatch.context() as patch:

        def noted(path: Path) -> bytes:
            opened.append(path.name)
            return read_bytes(path)

        patch.setattr(Path, "read_bytes", noted)
        run.resume(folder)
    shards = {name for name in opened if name != "manifest.json"}
    assert shards == {f"rank-{rank:05}.safetensors" for rank in (0, comm.rank)}
    assert opened.count("manifest.json") == (comm.rank == 0)


def test_a_mesh_that_lacks_a_layer_is_refused_on_all_ranks(folder: Path) -> None:
    """In what is saved, nothing is written then; in what is resumed, nothing changed."""
    run = Run(comm, CHAINS[comm.size][0], 1)
    run.step(0)
    lacking = [one for one in run.held() if one.name != "model.3.qkv"]
    writer = CheckpointWriter(comm)
    writer.save(folder, lacking, {"step": 1})
    writer.wait()
    other = Run(comm, CHAINS[comm.size][0], 1)
    with pytest.raises(RefusedError, match=r"has no 'model\.3\.qkv', which this run needs"):
        other.resume(folder)
    other.require(on_one_process(0))
    run.save(folder, 1)
    with pytest.raises(RefusedError, match=r"has 'model\.3\.qkv', which this run does not know"):
        load_checkpoint(comm, folder, lacking, {})
    if comm.size > 1:  # some elements of it, on the last rank that has any
        holders = comm.all_gather(np.array([any(one.name == "model.3.qkv" for one in run.held())]))
        last = int(np.flatnonzero(holders)[-1])
        mine = lacking if comm.rank == last else run.held()
        with pytest.raises(RefusedError, match=r"no rank holds some .* of 'model\.3\.qkv'"):
            writer.save(folder, mine, {"step": 2})
    comm.barrier()
    assert sorted(path.name for path in folder.iterdir()) == [
        "latest",
        "step-00000001",
        "step-00000001-2",
    ]
    other.resume(folder)
    other.require(on_one_process(1))
