"""Steps, validation, and runs that are saved and resumed, on one rank."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from small_run import TEXT, small_trainer

import pycoll
from pycoll.train import (
    GPT,
    CrossEntropy,
    Initializer,
    RefusedError,
    Trainer,
    TrainingDivergedError,
    read_manifest,
)
from pycoll.train.checkpoint import folder


def state(trainer: Trainer) -> dict[str, np.ndarray]:
    """Return copies of all parameters and of the optimizer's state."""
    arrays = {name: p.data.copy() for name, p in trainer.pipeline.named_parameters()}
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
    model = GPT(trainer.config, Initializer(trainer.settings.seed))
    losses = []
    for start in starts:
        part = trainer.corpus.validation[start : start + 9]
        scores, _ = model.forward(part[None, :-1])
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
    stopped.save(tmp_path)
    stopped.finish_saving()
    resumed = small_trainer(pycoll.world(), **options)
    assert resumed.resume(tmp_path) == []
    require_same_state(state(resumed), state(stopped))
    assert [resumed.train_step().loss for _ in range(3)] == losses[3:]
    require_same_state(state(resumed), state(through))


@pytest.mark.parametrize("precision", ["full", "bfloat16"])
def test_a_resumed_run_of_local_rounds_goes_on_bitwise(tmp_path: Path, precision: str) -> None:
    """Of one copy, which has no other optimizer; plain averaging leaves its rounds as they are."""
    if precision == "bfloat16":
        pytest.importorskip("ml_dtypes")
    rounds = {"local_steps": 3, "outer_learning_rate": 1.0, "outer_momentum": 0.0}
    through, stopped, resumed = (
        small_trainer(pycoll.world(), precision=precision, **rounds) for _ in range(3)
    )
    losses = [through.train_step().loss for _ in range(6)]
    resumed.train_step()
    for _ in range(3):
        stopped.train_step()
    stopped.save(tmp_path)
    stopped.finish_saving()
    assert resumed.resume(tmp_path) == []
    assert [resumed.train_step().loss for _ in range(3)] == losses[3:]
    require_same_state(state(resumed), state(through))


def test_changed_settings_are_named_and_do_not_stop_a_resume(tmp_path: Path) -> None:
    trainer = small_trainer(pycoll.world())
    trainer.save(tmp_path)
    trainer.finish_saving()
    other = small_trainer(pycoll.world(), steps=9, text=TEXT[1:])
    changed = other.resume(tmp_path)
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
    made.save(tmp_path)
    made.finish_saving()
    trainer = small_trainer(pycoll.world(), **changes)
    before = state(trainer)
    with pytest.raises(RefusedError, match=message):
        trainer.resume(tmp_path)
    assert trainer.step == 0
    require_same_state(state(trainer), before)


def test_a_truncated_checkpoint_is_refused_and_nothing_changed(tmp_path: Path) -> None:
    trainer = small_trainer(pycoll.world())
    trainer.train_step()
    trainer.save(tmp_path)
    trainer.train_step()
    trainer.finish_saving()
    path = tmp_path / "step-00000001" / "rank-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    before = state(trainer)
    with pytest.raises(RefusedError, match="truncated"):
        trainer.resume(tmp_path)
    assert trainer.step == 2
    require_same_state(state(trainer), before)


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="missing: No such file or directory"):
        small_trainer(pycoll.world()).resume(tmp_path / "missing")


@pytest.mark.parametrize("noticed_by", ["save", "finish_saving", "resume"])
def test_a_failure_while_saving_is_refused_and_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noticed_by: str
) -> None:
    """It happens in a thread, and is raised by the next call that has to do with checkpoints."""
    trainer = small_trainer(pycoll.world())
    trainer.save(tmp_path)
    trainer.finish_saving()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    trainer.train_step()
    trainer.save(tmp_path)
    with pytest.raises(RefusedError, match="No space left"):
        getattr(trainer, noticed_by)(*[] if noticed_by == "finish_saving" else [tmp_path])
    monkeypatch.undo()
    trainer.finish_saving()  # it is said once
    assert read_manifest(tmp_path)[1].description["step"] == 0
    trainer.save(tmp_path)
    trainer.finish_saving()
    assert read_manifest(tmp_path)[1].description["step"] == 1


def test_training_goes_on_while_a_checkpoint_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is as slow as can be; what is written are the values at the time of the call."""
    trainer = small_trainer(pycoll.world())
    saved = state(trainer)
    may_write = threading.Event()
    write_file = folder.write_file

    def wait_and_write(path: Path, content: bytes) -> None:
        assert may_write.wait(60)
        write_file(path, content)

    monkeypatch.setattr(folder, "write_file", wait_and_write)
    trainer.save(tmp_path)
    for _ in range(3):
        trainer.train_step()
    assert not (tmp_path / "latest").exists()
    may_write.set()
    trainer.finish_saving()
    trainer.resume(tmp_path)
    assert trainer.step == 0
    require_same_state(state(trainer), saved)


def test_gradients_above_the_greatest_norm_are_scaled_down() -> None:
    """Clipping to half the norm is the same as half the learning rate, for plain SGD."""
    options = {"optimizer": "sgd", "momentum": 0.0, "steps": 1}
    free = small_trainer(pycoll.world(), **options, learning_rate=0.005)
    assert free.train_step().gradient_norm is None
    gradients = [parameter.grad for _, parameter in free.parallel.parameters]
    norm = float(np.sqrt(sum((gradient.astype(np.float64) ** 2).sum() for gradient in gradients)))
    clipped = small_trainer(pycoll.world(), **options, max_norm=norm / 2)
    assert clipped.train_step().gradient_norm == pytest.approx(norm, rel=1e-6)
    for name, array in state(free).items():
        np.testing.assert_allclose(state(clipped)[name], array, rtol=1e-5, atol=1e-7)


def test_accumulated_passes_make_the_same_step() -> None:
    """5 sequences in 3 and in 5 passes."""
    at_once = small_trainer(pycoll.world())
    loss = at_once.train_step().loss
    for passes in (3, 5):
        accumulated = small_trainer(pycoll.world(), micro_batches=passes)
        assert accumulated.train_step().loss == pytest.approx(loss, rel=1e-6)
        for (name, ours), (_, theirs) in zip(
            accumulated.parallel.parameters, at_once.parallel.parameters, strict=True
        ):
            np.testing.assert_allclose(ours.grad, theirs.grad, atol=1e-6, err_msg=name)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_stops_the_run_before_the_step(value: float) -> None:
    trainer = small_trainer(pycoll.world())
    trainer.train_step()
    dict(trainer.pipeline.named_parameters())["final_norm.bias"].data[0] = value
    before = state(trainer)
    with pytest.raises(TrainingDivergedError, match="in step 2; lower the learning rate"):
        trainer.train_step()
    assert trainer.step == 1
    require_same_state(state(trainer), before)


def test_an_unknown_device_is_refused() -> None:
    trainer = small_trainer(pycoll.world())
    with pytest.raises(RefusedError, match="unknown device 'abacus'; choose 'cpu' or 'cuda'"):
        Trainer(pycoll.world(), trainer.corpus, trainer.config, trainer.settings, device="abacus")
