"""What a run writes and shows: metrics, picture, sample, progress bar, summary."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from small_run import TEXT, sample, small_trainer

import pycoll
from pycoll.train import (
    RefusedError,
    RunOptions,
    StepReport,
    TrainingDivergedError,
    run,
)
from pycoll.train.report.loss_picture import draw_losses
from pycoll.train.report.metrics_file import MetricsFile
from pycoll.train.report.run_report import RunReport


def lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_metrics_are_lines_of_json(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics")
    metrics.write(1, loss=2.5)
    assert lines(tmp_path / "metrics") == [{"step": 1, "loss": 2.5}]  # also before closing
    metrics.write(2, loss=2.0, seconds=0.1)
    metrics.close()
    assert lines(tmp_path / "metrics") == metrics.lines
    assert metrics.lines[1] == {"step": 2, "loss": 2.0, "seconds": 0.1}


def test_a_new_run_starts_new_metrics(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text('{"step": 1}\n')
    MetricsFile(tmp_path / "metrics").close()
    assert (tmp_path / "metrics").read_text() == ""


def test_a_resumed_run_keeps_the_metrics_up_to_its_step(tmp_path: Path) -> None:
    """Not those of steps that are made again, nor what a killed run or somebody else wrote."""
    path = tmp_path / "metrics"
    path.write_text(
        '{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n7\n{"other": 1}\n'
        '{"step": 3, "loss": 1}\n{"step": 2, "val'
    )
    metrics = MetricsFile(path, resumed_at=2)
    metrics.write(3, loss=0.5)
    metrics.close()
    expected = [{"step": 1, "loss": 3}, {"step": 2, "loss": 2}, {"step": 3, "loss": 0.5}]
    assert lines(path) == metrics.lines == expected


def colours(path: Path) -> Counter[tuple[int, ...]]:
    pixels = (matplotlib.image.imread(path)[..., :3] * 255).round().astype(int)
    return Counter(map(tuple, pixels.reshape(-1, 3).tolist()))


BLUE, ORANGE = (31, 119, 180), (255, 127, 14)


def test_the_picture_shows_both_losses(tmp_path: Path) -> None:
    path = tmp_path / "loss.png"
    training = [(step, 4 / (1 + 0.1 * step)) for step in range(1, 101)]
    draw_losses(path, training, [], unigram=3.2)
    without_validation = colours(path)
    assert without_validation[BLUE] > 300
    assert without_validation[ORANGE] == 0
    draw_losses(path, training, [(50, 1.0), (100, 0.8)], unigram=3.2)
    assert colours(path)[ORANGE] > 100
    assert matplotlib.image.imread(path).shape[:2] == (540, 960)


def test_the_picture_of_a_run_without_steps(tmp_path: Path) -> None:
    draw_losses(tmp_path / "loss.png", [], [], unigram=3.2)
    found = colours(tmp_path / "loss.png")
    assert found[BLUE] == found[ORANGE] == 0
    assert len(found) > 3  # axes and the unigram model's line


def test_samples_are_seeded_and_of_the_vocabulary() -> None:
    trainer = small_trainer(pycoll.world())
    first = sample(trainer, 30, seed=1)
    assert len(first) == 30
    assert set(first) <= set(TEXT)
    assert sample(trainer, 30, seed=1) == first
    assert sample(trainer, 30, seed=2) != first
    assert sample(trainer, 0) == ""


def test_samples_follow_the_model() -> None:
    """One that was trained on a text that repeats itself writes that text."""
    trainer = small_trainer(pycoll.world(), text="abcdef" * 50, steps=40, learning_rate=0.03)
    for _ in range(40):
        trainer.train_step()
    written = sample(trainer, 20, prompt="xabc?", temperature=0.1)
    assert written == "defabcdefabcdefabcde"  # the prompt's unknown characters are left out


def test_a_low_temperature_takes_the_likeliest_character_whatever_the_seed() -> None:
    trainer = small_trainer(pycoll.world())
    written = {sample(trainer, 10, temperature=1e-6, seed=seed) for seed in range(3)}
    assert len(written) == 1


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_wrong_temperatures_are_refused(temperature: float) -> None:
    trainer = small_trainer(pycoll.world())
    with pytest.raises(ValueError, match="temperature must be above 0"):
        sample(trainer, 1, temperature=temperature)


def step_report(step: int, loss: float) -> StepReport:
    return StepReport(
        step=step, loss=loss, learning_rate=0.1, tokens=1000, seconds=0.5, blocked_seconds=0.125
    )


def test_the_bar_shows_loss_speed_and_share_of_communication(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunReport(tmp_path / "new", steps=2, resumed_at=0, unigram=3.0) as report:
        report.step(step_report(1, 4.0))
        report.step(step_report(2, 3.5))
        report.validation(2, 1.5)
        report.finish(1.5, "abc")
    shown = capsys.readouterr()
    assert "2/2" in shown.err
    assert "loss 3.500, 2.0k tokens/s, comm 25%" in shown.err
    assert "validation loss 1.500 nats per character: 50% of the unigram model's 3.000" in shown.out
    assert "1 s of training, 2.0k tokens/s, 25% of the time waiting for communication" in shown.out
    assert shown.out.endswith("The model writes:\nabc\n")
    assert (tmp_path / "new" / "sample.txt").read_text() == "abc\n"
    assert lines(tmp_path / "new" / "metrics.jsonl") == [
        {
            "step": step,
            "loss": loss,
            "learning_rate": 0.1,
            "tokens_per_second": 2000.0,
            "communication_share": 0.25,
            "seconds": 0.5,
        }
        for step, loss in ((1, 4.0), (2, 3.5))
    ] + [{"step": 2, "validation_loss": 1.5}]


def test_a_whole_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = small_trainer(pycoll.world(), steps=6)
    validation = run(trainer, RunOptions(tmp_path, validate_every=2, sample_length=10))
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoints",
        "loss.png",
        "metrics.jsonl",
        "sample.txt",
    }
    metrics = lines(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in metrics if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in metrics if "validation_loss" in line] == [2, 4, 6]
    assert metrics[-1]["validation_loss"] == validation == trainer.validate()
    assert len((tmp_path / "sample.txt").read_text()) == 11
    parameters = sum(parameter.data.size for _, parameter in trainer.pipeline.named_parameters())
    shown = capsys.readouterr().out
    assert shown.startswith(f"1 rank(s) train {parameters / 1e6:.2f} million parameters")
    assert f"{validation:.3f} nats per character" in shown


def test_a_run_that_diverges_keeps_its_last_checkpoint(tmp_path: Path) -> None:
    trainer = small_trainer(pycoll.world(), steps=9)
    make_step = trainer.train_step

    def diverge_in_step_4() -> StepReport:
        if trainer.step == 3:
            dict(trainer.pipeline.named_parameters())["final_norm.bias"].data[0] = np.nan
        return make_step()

    trainer.train_step = diverge_in_step_4  # type: ignore[method-assign]
    with pytest.raises(TrainingDivergedError):
        run(trainer, RunOptions(tmp_path, checkpoint_every=2))
    assert [line["step"] for line in lines(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    resumed = small_trainer(pycoll.world(), steps=9)
    resumed.resume(tmp_path / "checkpoints")
    assert resumed.step == 2


def test_a_run_with_nothing_left_to_do_is_refused(tmp_path: Path) -> None:
    trainer = small_trainer(pycoll.world(), steps=1)
    run(trainer, RunOptions(tmp_path))
    checkpoint = tmp_path / "checkpoints"
    again = small_trainer(pycoll.world(), steps=1)
    with pytest.raises(RefusedError, match="1 steps behind it and the run has 1"):
        run(again, RunOptions(tmp_path / "again", resume=checkpoint))
    assert not (tmp_path / "again").exists()


def test_a_folder_that_cannot_be_made_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    trainer = small_trainer(pycoll.world())
    with pytest.raises(RefusedError, match=r"file(/folder)?: (File exists|Not a directory)"):
        run(trainer, RunOptions(tmp_path / "file" / "folder"))
    assert trainer.step == 0


def test_numbers_for_tensorboard_are_those_of_the_metrics_file(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    run(small_trainer(pycoll.world(), steps=2), RunOptions(tmp_path, tensorboard=True))
    (events,) = (tmp_path / "tensorboard").iterdir()
    content = events.read_bytes()
    for name in ("loss", "learning_rate", "validation_loss"):
        assert name.encode() in content


def test_tensorboard_without_its_package_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    trainer = small_trainer(pycoll.world(), steps=2)
    with pytest.raises(RefusedError, match="pip install tensorboardX"):
        run(trainer, RunOptions(tmp_path, tensorboard=True))
    assert trainer.step == 0
