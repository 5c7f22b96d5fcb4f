"""Checkpoints of data, tensor and pipeline parallelism together, resumed on other meshes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pycoll
from pycoll.train import (
    GPT,
    AdamW,
    CheckpointWriter,
    CrossEntropy,
    DataParallel,
    GPTConfig,
    Held,
    Initializer,
    Mesh,
    Pipeline,
    Shard,
    TensorGroup,
    held_by,
    load_checkpoint,
    shard,
)
from pycoll.train.verdict import broadcast_text

comm = pycoll.world()
SEQUENCES, VOCABULARY, CONTEXT = 13, 12, 6
MICRO_BATCHES = 4


CONFIG = GPTConfig(VOCABULARY, context=CONTEXT, width=8, heads=2, layers=4, tied=True)


def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
    tokens = np.random.default_rng((3, step)).integers(VOCABULARY, size=(SEQUENCES, CONTEXT + 1))
    return tokens[:, :-1], tokens[:, 1:]


def on_one_process(steps: int) -> dict[str, np.ndarray]:
    model = GPT(CONFIG, Initializer(5, "float64"))
    criterion = model.criterion()
    optimizer = AdamW(model.named_parameters(), epsilon=1e-5)
    for step in range(steps):
        inputs, targets = batch(step)
        model.clear_gradients()
        scores, saved = model.forward(inputs)
        _, saved_loss = criterion.forward(scores, targets)
        model.backward(saved, criterion.backward(saved_loss, 1 / targets.size))
        optimizer.step(0.002)
    return {name: parameter.data for name, parameter in model.named_parameters()}


class Run:
    """A model on a mesh, with what trains it."""

    def __init__(self, dp: int, tp: int, pp: int, *, zero: int) -> None:
        self.mesh = Mesh(comm, dp=dp, tp=tp, pp=pp)
        group = TensorGroup(self.mesh.tp)
        self.pipeline = Pipeline(
            lambda part: GPT(CONFIG, Initializer(5, "float64"), group, part=part),
            len(GPT.layer_names(CONFIG)),
            self.mesh.pp,
            CrossEntropy(tensor=group, classes=VOCABULARY),
            micro_batches=MICRO_BATCHES,
            schedule="interleaved" if pp == 2 else "1f1b",
            chunks=2 if pp == 2 else 1,
        )
        parameters = self.pipeline.named_parameters()
        self.parallel = DataParallel(parameters, self.mesh.dp, 1000, zero=zero)
        self.optimizer = AdamW(self.parallel.parameters, epsilon=1e-5)

    def train(self, steps: range) -> None:
        mine = shard(SEQUENCES, self.mesh.dp.rank, self.mesh.dp.size)
        for step in steps:
            inputs, targets = batch(step)
            with self.parallel.reducing(passes=MICRO_BATCHES):
                self.pipeline.forward_backward(inputs[mine], targets[mine], 1 / targets.size)
            self.parallel.step(self.optimizer, 0.002)

    def values(self) -> dict[str, tuple[np.ndarray, Shard | None]]:
        """Return copies of all parameters of this rank; waits for those on their way."""
        parameters = self.pipeline.named_parameters()
        return {name: (each.data.copy(), each.shard) for name, each in parameters}

    def held(self) -> list[Held]:
        return held_by(self.parallel.parameters, self.optimizer)


@pytest.mark.skipif(comm.size != 8, reason="2 x 2 x 2 is for 8 ranks")
@pytest.mark.parametrize("other", [(8, 1, 1), (1, 2, 4)])
def test_a_checkpoint_goes_bitwise_to_another_mesh_and_back(
    tmp_path: Path, other: tuple[int, int, int]
) -> None:
    """Parameters and optimizer state, from ZeRO-1 to none; both then go on as one process does.

    Embeddings are tied: two stages have a copy.
    """
    folder = Path(broadcast_text(comm, str(tmp_path)))
    first = Run(2, 2, 2, zero=1)
    first.train(range(2))
    expected = first.values()
    state = {name: array.copy() for name, array in first.optimizer.state_dict().items()}
    moved, back = Run(*other, zero=0), Run(2, 2, 2, zero=1)
    writer = CheckpointWriter(comm)
    for number, (source, target) in enumerate([(first, moved), (moved, back)]):
        writer.save(folder / str(number), source.held(), {"step": 2})
        writer.wait()
        load_checkpoint(comm, folder / str(number), target.held(), {"step": 2})
        target.parallel.spread()
    found = back.values()
    first.train(range(2, 4))
    moved.train(range(2, 4))
    ahead, elsewhere = first.values(), on_one_process(steps=4)
    for name, (data, _) in expected.items():
        np.testing.assert_array_equal(found[name][0], data, err_msg=name)
    for name, array in back.optimizer.state_dict().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)
    for values in (ahead, moved.values()):
        for name, (data, part) in values.items():
            whole = elsewhere[name] if part is None else part.part_of(elsewhere[name])
            np.testing.assert_allclose(data, whole, rtol=0, atol=1e-11, err_msg=name)
