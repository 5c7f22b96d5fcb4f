"""The trainer on several ranks: every rank has the same state, and resumes it bitwise."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from small_run import small_trainer

import pycoll
from pycoll.train import RefusedError, RunOptions, Trainer, TrainingDivergedError, run
from pycoll.train.verdict import broadcast_text

comm = pycoll.world()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that all ranks share."""
    return Path(broadcast_text(comm, str(tmp_path)))


def state(trainer: Trainer) -> np.ndarray:
    arrays = [parameter.data for _, parameter in trainer.model.named_parameters()]
    arrays += trainer.optimizer.state_dict().values()
    return np.concatenate([array.reshape(-1).astype(np.float64) for array in arrays])


def require_same_on_all_ranks(array: np.ndarray) -> None:
    gathered = comm.all_gather(array).reshape(comm.size, -1)
    assert (gathered == gathered[0]).all()


@pytest.mark.parametrize("batch_size", [1, 5, 16])
def test_all_ranks_keep_the_same_state_and_report_the_same_loss(batch_size: int) -> None:
    """With 1 sequence only rank 0 has work."""
    trainer = small_trainer(comm, batch_size=batch_size)
    losses = [trainer.train_step().loss for _ in range(4)]
    losses.append(trainer.validate())
    require_same_on_all_ranks(np.array(losses))
    require_same_on_all_ranks(state(trainer))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_resumed_run_goes_on_bitwise(folder: Path, optimizer: str) -> None:
    """The trainer that resumes has made steps of another run before."""
    through = small_trainer(comm, optimizer=optimizer)
    losses = [through.train_step().loss for _ in range(6)]
    stopped = small_trainer(comm, optimizer=optimizer)
    for _ in range(3):
        stopped.train_step()
    stopped.save(folder / "checkpoint")
    resumed = small_trainer(comm, optimizer=optimizer)
    resumed.train_step()
    resumed.resume(folder / "checkpoint")
    assert [resumed.train_step().loss for _ in range(3)] == losses[3:]
    np.testing.assert_array_equal(state(resumed), state(through))


def test_a_checkpoint_that_rank_0_refuses_is_refused_on_all_ranks(folder: Path) -> None:
    trainer = small_trainer(comm)
    trainer.save(folder / "checkpoint")
    other = small_trainer(comm, layers=2)
    before = state(other)
    with pytest.raises(RefusedError, match="another model: layers is 1 there but 2 here"):
        other.resume(folder / "checkpoint")
    np.testing.assert_array_equal(state(other), before)
    assert other.train_step().step == 1


def test_a_checkpoint_that_cannot_be_written_is_refused_on_all_ranks(folder: Path) -> None:
    trainer = small_trainer(comm)
    if comm.rank == 0:
        (folder / "file").write_text("")
    with pytest.raises(RefusedError, match="file"):
        trainer.save(folder / "file" / "checkpoint")
    assert trainer.train_step().step == 1


def test_a_loss_that_is_no_number_on_one_rank_stops_all() -> None:
    trainer = small_trainer(comm, batch_size=16)
    if comm.rank == comm.size - 1:
        trainer.model.layers["final_norm"].bias.data[0] = np.nan
    with pytest.raises(TrainingDivergedError, match="the loss became nan in step 1"):
        trainer.train_step()


def test_a_whole_run_writes_once(folder: Path) -> None:
    trainer = small_trainer(comm)
    validation = run(trainer, RunOptions(folder, checkpoint_every=2, validate_every=2))
    require_same_on_all_ranks(np.array([validation]))
    comm.barrier()
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["checkpoint.safetensors", "loss.png", "metrics.jsonl", "sample.txt"]
