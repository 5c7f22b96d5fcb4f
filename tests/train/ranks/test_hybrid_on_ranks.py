"""All axes of a mesh at once, with ZeRO and recomputation, against one process."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import pycoll
from pycoll.train import (
    GPT,
    AdamW,
    CrossEntropy,
    DataParallel,
    GPTConfig,
    Initializer,
    Mesh,
    Pipeline,
    TensorGroup,
    clip_gradients,
    shard,
)

comm = pycoll.world()
SHAPES = {4: [(1, 2, 2)], 8: [(2, 2, 2), (1, 2, 4)]}.get(comm.size, [])
MESHES = [Mesh(comm, dp=dp, tp=tp, pp=pp) for dp, tp, pp in SHAPES]
STEPS, SEQUENCES, MICRO_BATCHES = 20, 8, 2

pytestmark = pytest.mark.skipif(not SHAPES, reason="other numbers of ranks make a mesh")


def config(tied: bool) -> GPTConfig:
    return GPTConfig(11, context=12, width=24, heads=4, layers=2, tied=tied)


def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
    tokens = np.random.default_rng(step).integers(11, size=(SEQUENCES, 13))
    return tokens[:, :-1], tokens[:, 1:]


@cache
def on_one_process(tied: bool) -> tuple[dict[str, np.ndarray], list[float]]:
    """Return the parameters after all steps, and the norms."""
    model = GPT(config(tied), Initializer(1))
    named, criterion, norms = model.named_parameters(), model.criterion(), []
    optimizer = AdamW(named)
    for step in range(STEPS):
        inputs, targets = batch(step)
        model.clear_gradients()
        scores, saved = model.forward(inputs)
        _, saved_loss = criterion.forward(scores, targets)
        model.backward(saved, criterion.backward(saved_loss, 1 / targets.size))
        norms.append(clip_gradients(named, 1.0))
        optimizer.step(1e-3)
    return {name: parameter.data for name, parameter in named}, norms


@pytest.mark.parametrize(
    "mesh", MESHES, ids=lambda mesh: f"dp {mesh.shape.dp} tp {mesh.shape.tp} pp {mesh.shape.pp}"
)
@pytest.mark.parametrize(("tied", "sequence_parallel"), [(False, False), (True, True)])
@pytest.mark.parametrize("zero", [0, 1])
def test_a_hybrid_ends_where_one_process_does(
    mesh: Mesh, tied: bool, sequence_parallel: bool, zero: int
) -> None:
    tensor = TensorGroup(mesh.tp, sequence_parallel=sequence_parallel)
    pipeline = Pipeline(
        lambda part: GPT(config(tied), Initializer(1), tensor, part=part, recompute=True),
        len(GPT.layer_names(config(tied))),
        mesh.pp,
        CrossEntropy(tensor=tensor, classes=11),
        micro_batches=MICRO_BATCHES,
    )
    parallel = DataParallel(pipeline, mesh.dp, 2000, zero=zero)
    optimizer = AdamW(parallel.parameters)
    mine = shard(SEQUENCES, mesh.dp.rank, mesh.dp.size)
    expected, norms = on_one_process(tied)
    for step in range(STEPS):
        inputs, targets = batch(step)
        with parallel.reducing(passes=MICRO_BATCHES):
            pipeline.forward_backward(inputs[mine], targets[mine], 1 / targets.size)
        norm = clip_gradients(parallel.parameters, 1.0, mesh, counted=parallel.counted)
        assert norm == pytest.approx(norms[step], rel=1e-5)
        parallel.step(optimizer, 1e-3)
    for name, parameter in pipeline.named_parameters():
        whole = expected[name]
        part = whole if parameter.shard is None else parameter.shard.part_of(whole)
        error = np.linalg.norm(parameter.data - part) / np.linalg.norm(part)
        assert error < 1e-5, name
