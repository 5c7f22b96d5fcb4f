"""The trainer on several ranks: every rank has the same state, and resumes it bitwise."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

sys.path.insert(0, str(Path(__file__).parent.parent))

from small_run import small_trainer

import pycoll
from pycoll.train import (
    RefusedError,
    RunOptions,
    Trainer,
    TrainingDivergedError,
    read_manifest,
    run,
)
from pycoll.train.verdict import broadcast_text

comm = pycoll.world()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that all ranks share."""
    return Path(broadcast_text(comm, str(tmp_path)))


def state(trainer: Trainer) -> np.ndarray:
    """Return what this rank holds: all parameters, and its part of the optimizer's state."""
    arrays = [parameter.data for _, parameter in trainer.pipeline.named_parameters()]
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


def options(optimizer: str, zero: int, precision: str) -> dict[str, Any]:
    if precision == "bfloat16":
        pytest.importorskip("ml_dtypes")
    return {"optimizer": optimizer, "zero": zero, "precision": precision, "weight_decay": 0.1}


@pytest.mark.parametrize("zero", [0, 1])
@pytest.mark.parametrize(
    ("optimizer", "precision"), [("adamw", "full"), ("sgd", "full"), ("adamw", "bfloat16")]
)
def test_a_resumed_run_goes_on_bitwise(
    folder: Path, optimizer: str, zero: int, precision: str
) -> None:
    """The trainer that resumes has made a step before; the one that saves goes on meanwhile."""
    chosen = options(optimizer, zero, precision)
    through = small_trainer(comm, **chosen)
    losses = [through.train_step().loss for _ in range(3)]
    through.save(folder)
    losses += [through.train_step().loss for _ in range(3)]
    through.finish_saving()
    resumed = small_trainer(comm, **chosen)
    resumed.train_step()
    resumed.resume(folder)
    assert [resumed.train_step().loss for _ in range(3)] == losses[3:]
    np.testing.assert_array_equal(state(resumed), state(through))


@pytest.mark.parametrize("precision", ["full", "bfloat16"])
def test_zero_makes_the_same_run(folder: Path, precision: str) -> None:
    """A run may also change between the two, or to one rank, at a checkpoint."""
    plain = small_trainer(comm, **options("adamw", 0, precision))
    sharded = small_trainer(comm, **options("adamw", 1, precision))
    for _ in range(3):
        assert sharded.train_step().loss == pytest.approx(plain.train_step().loss, rel=1e-5)
    sharded.save(folder)
    changed = small_trainer(comm, **options("adamw", 0, precision))
    sharded.finish_saving()
    assert changed.resume(folder) == ["zero is now 0, was 1"]
    alone = comm.split(comm.rank)
    assert alone is not None
    single = small_trainer(alone, **options("adamw", 0, precision))
    single.resume(folder)
    np.testing.assert_array_equal(state(single), state(changed))
    for (name, ours), (_, theirs) in zip(
        changed.pipeline.named_parameters(), sharded.pipeline.named_parameters(), strict=True
    ):
        np.testing.assert_array_equal(ours.data, theirs.data, err_msg=name)
    # Back again, with what one rank has written.
    if comm.rank == 0:
        single.save(folder)
        single.finish_saving()
    comm.barrier()
    back = small_trainer(comm, **options("adamw", 1, precision))
    back.resume(folder)
    np.testing.assert_array_equal(state(back), state(sharded))
    held = sum(array.size for array in back.optimizer.state_dict().values())
    whole = sum(array.size for array in changed.optimizer.state_dict().values())
    assert held <= whole / comm.size + 2 * len(back.parallel.buckets) + 1


@pytest.mark.parametrize("zero", [0, 1])
def test_a_checkpoint_that_one_rank_refuses_is_refused_on_all(folder: Path, zero: int) -> None:
    trainer = small_trainer(comm, zero=zero)
    trainer.save(folder)
    trainer.finish_saving()
    other = small_trainer(comm, layers=2, zero=zero)
    before = state(other)
    with pytest.raises(RefusedError, match="another model: layers is 1 there but 2 here"):
        other.resume(folder)
    np.testing.assert_array_equal(state(other), before)
    last = sorted(folder.glob("step-*/rank-*"))[-1]
    comm.barrier()
    if comm.rank == 0:
        content = bytearray(last.read_bytes())
        content[-1] ^= 1
        last.write_bytes(content)
    comm.barrier()
    trainer.train_step()
    before = state(trainer)
    with pytest.raises(RefusedError, match=f"{last.name} is damaged"):
        trainer.resume(folder)
    np.testing.assert_array_equal(state(trainer), before)
    assert trainer.train_step().step == 2


def test_a_checkpoint_that_cannot_be_written_is_refused_on_all_ranks(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever rank it is that fails; the error comes from the next call."""
    trainer = small_trainer(comm, zero=1)
    if comm.rank == 0:
        (folder / "file").write_text("")
    trainer.save(folder / "file" / "checkpoints")
    with pytest.raises(RefusedError, match="file"):
        trainer.finish_saving()
    trainer.save(folder)
    trainer.train_step()
    trainer.finish_saving()

    def fail(*_: object) -> None:
        raise OSError(28, f"No space left for rank {comm.rank}")

    def write_elsewhere(path: Path, content: bytes) -> None:
        """As if the folder were not the one that rank 0 sees."""

    last = comm.size - 1
    for failing, function, message in (
        (0, fail, "No space left for rank 0"),
        (last, fail, f"No space left for rank {last}"),
        (last, write_elsewhere, f"rank 0 does not see .*rank-0000{last}.safetensors"),
    ):
        with monkeypatch.context() as patch:
            if comm.rank == failing:
                patch.setattr("pycoll.train.checkpoint.folder.write_file", function)
            trainer.save(folder)
            with pytest.raises(RefusedError, match=message):
                trainer.finish_saving()
        comm.barrier()
        assert sorted(path.name for path in folder.glob("*e*")) == [
            "file",
            "latest",
            "step-00000000",
        ]
    assert trainer.train_step().step == 2


def test_without_threads_in_mpi_a_checkpoint_is_there_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MPI, "Query_thread", lambda: MPI.THREAD_FUNNELED)
    monkeypatch.delattr(threading, "Thread")
    trainer = small_trainer(comm, zero=1)
    trainer.train_step()
    trainer.save(folder)
    assert read_manifest(folder)[1].description["step"] == 1
    trainer.resume(folder)


def test_a_loss_that_is_no_number_on_one_rank_stops_all() -> None:
    trainer = small_trainer(comm, batch_size=16)
    if comm.rank == comm.size - 1:
        dict(trainer.pipeline.named_parameters())["final_norm.bias"].data[0] = np.nan
    with pytest.raises(TrainingDivergedError, match="the loss became nan in step 1"):
        trainer.train_step()


def test_a_whole_run_writes_once(folder: Path) -> None:
    trainer = small_trainer(comm)
    validation = run(trainer, RunOptions(folder, checkpoint_every=2, validate_every=2))
    require_same_on_all_ranks(np.array([validation]))
    comm.barrier()
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["checkpoints", "loss.png", "metrics.jsonl", "sample.txt"]
