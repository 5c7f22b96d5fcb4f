"""Steps, validation, and runs that are saved and resumed, on one rank."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from small_run import TEXT, small_trainer

import pycoll
from pycoll.train import (
    Checkpoint,
    CrossEntropy,
    RefusedError,
    Trainer,
    TrainingDivergedError,
    read_checkpoint,
    write_checkpoint,
)


def state(trainer: Trainer) -> dict[str, np.ndarray]:
    """Return copies of all parameters and of the optimizer's state."""
    arrays = {name: p.data.copy() for name, p in trainer.model.named_parameters()}
    optimizer = trainer.optimizer.state_dict()
    return arrays | {f"optimizer.{name}": array.copy() for name, array in optimizer.items()}


def require_same_state(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_the_loss_falls_and_is_reported() -> None:
    trainer = small_trainer(pycoll.world(), steps=60, warmup=3)
    reports = [trainer.train_step() for _ in range(60)]
    assert reports[0].loss == pytest.approx(np.log(len(trainer.corpus.vocabulary)), rel=0.1)
    assert reports[-1].loss < 0.6 * reports[0].loss
    assert [report.step for report in reports] == list(range(1, 61))
    assert [report.learning_rate for report in reports] == [trainer.schedule(i) for i in range(60)]
    assert all(report.tokens == 5 * 8 for report in reports)
    assert all(0 <= report.blocked_seconds <= report.seconds for report in reports)


def test_validation_is_the_mean_over_all_windows() -> None:
    """The text is longer than what is computed at once."""
    trainer = small_trainer(pycoll.world(), text=TEXT * 5)
    starts = range(0, len(trainer.corpus.validation) - 8, 8)
    assert len(starts) > 32
    losses = []
    for start in starts:
        part = trainer.corpus.validation[start : start + 9]
        scores, _ = trainer.model.forward(part[None, :-1])
        losses.append(CrossEntropy().forward(scores, part[None, 1:])[0] / 8)
    assert trainer.validate() == pytest.approx(np.mean(losses), rel=1e-6)


def test_validation_changes_nothing() -> None:
    through, validating = (small_trainer(pycoll.world()) for _ in range(2))
    for _ in range(3):
        through.train_step()
        validating.train_step()
        validating.validate()
    require_same_state(state(validating), state(through))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_resumed_run_goes_on_bitwise(tmp_path: Path, optimizer: str, tied: bool) -> None:
    options = {"optimizer": optimizer, "tied": tied, "weight_decay": 0.1}
    through = small_trainer(pycoll.world(), **options)
    losses = [through.train_step().loss for _ in range(6)]

    stopped = small_trainer(pycoll.world(), **options)
    for _ in range(3):
        stopped.train_step()
    stopped.save(tmp_path / "checkpoint")
    resumed = small_trainer(pycoll.world(), **options)
    assert resumed.resume(tmp_path / "checkpoint") == []
    require_same_state(state(resumed), state(stopped))
    assert [resumed.train_step().loss for _ in range(3)] == losses[3:]
    require_same_state(state(resumed), state(through))


def test_changed_settings_are_named_and_do_not_stop_a_resume(tmp_path: Path) -> None:
    trainer = small_trainer(pycoll.world())
    trainer.save(tmp_path / "checkpoint")
    other = small_trainer(pycoll.world(), steps=9, text=TEXT[1:])
    changed = other.resume(tmp_path / "checkpoint")
    assert changed[0] == "steps is now 9, was 6"
    assert changed[1].startswith("text is now")
    assert len(changed) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 14}, "another model: width is 12 there but 14 here"),
        ({"layers": 2}, "another model: layers is 1 there but 2 here"),
        ({"tied": True}, "another model: tied is False there but True here"),
        ({"optimizer": "sgd"}, "another optimizer: 'adamw' there but 'sgd' here"),
        ({"text": TEXT + "!" * 8}, "another (model|vocabulary): "),
        ({"text": TEXT.replace("q", "\u00e4")}, "another vocabulary: "),
    ],
)
def test_another_runs_checkpoint_is_refused_and_nothing_changed(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    made = small_trainer(pycoll.world())
    made.train_step()
    made.save(tmp_path / "checkpoint")
    trainer = small_trainer(pycoll.world(), **changes)
    before = state(trainer)
    with pytest.raises(RefusedError, match=message):
        trainer.resume(tmp_path / "checkpoint")
    assert trainer.step == 0
    require_same_state(state(trainer), before)


@pytest.mark.parametrize("remove", ["model.head.weight", "optimizer.steps"])
def test_a_checkpoint_without_some_array_is_refused(tmp_path: Path, remove: str) -> None:
    trainer = small_trainer(pycoll.world())
    trainer.save(tmp_path / "checkpoint")
    whole = read_checkpoint(tmp_path / "checkpoint")
    arrays = {name: array for name, array in whole.arrays.items() if name != remove}
    write_checkpoint(tmp_path / "checkpoint", Checkpoint(arrays, whole.description))
    before = state(trainer)
    with pytest.raises(RefusedError, match=f"no '{remove}', which this run needs"):
        trainer.resume(tmp_path / "checkpoint")
    require_same_state(state(trainer), before)


def test_a_truncated_checkpoint_is_refused_and_nothing_changed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    trainer = small_trainer(pycoll.world())
    trainer.train_step()
    trainer.save(path)
    trainer.train_step()
    path.write_bytes(path.read_bytes()[:-5])
    before = state(trainer)
    with pytest.raises(RefusedError, match="truncated"):
        trainer.resume(path)
    assert trainer.step == 2
    require_same_state(state(trainer), before)


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="missing: No such file or directory"):
        small_trainer(pycoll.world()).resume(tmp_path / "missing")


def test_a_failure_while_saving_is_refused_and_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint"
    trainer = small_trainer(pycoll.world())
    trainer.save(path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    trainer.train_step()
    with pytest.raises(RefusedError, match="No space left"):
        trainer.save(path)
    monkeypatch.undo()
    assert read_checkpoint(path).description["step"] == 0
    trainer.save(path)
    assert read_checkpoint(path).description["step"] == 1


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_stops_the_run_before_the_step(value: float) -> None:
    trainer = small_trainer(pycoll.world())
    trainer.train_step()
    trainer.model.layers["final_norm"].bias.data[0] = value
    before = state(trainer)
    with pytest.raises(TrainingDivergedError, match="in step 2; lower the learning rate"):
        trainer.train_step()
    assert trainer.step == 1
    require_same_state(state(trainer), before)


def test_an_unknown_device_is_refused() -> None:
    trainer = small_trainer(pycoll.world())
    with pytest.raises(RefusedError, match="unknown device 'abacus'; choose 'cpu' or 'cuda'"):
        Trainer(
            pycoll.world(), trainer.corpus, trainer.model.config, trainer.settings, device="abacus"
        )
