"""``train.py`` under mpirun: loss curves, resuming, wrong options, and ranks that fail.

Every run starts ranks that import NumPy, which takes longer than their training.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from pycoll.train import read_manifest

ROOT = Path(__file__).parent.parent.parent
TRAIN = str(ROOT / "train.py")
TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on.\n" * 40
SMALL = ["--context=16", "--width=16", "--heads=2", "--layers=1", "--sample-length=5"]

Mpirun = Callable[..., subprocess.CompletedProcess[str]]
Train = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def train(mpirun: Mpirun, tmp_path: Path) -> Train:
    """Return a function that runs ``train.py`` on a small model and text."""
    text = tmp_path / "text"
    text.write_text(TEXT)

    def start(ranks: int, *options: str, program: str = TRAIN) -> subprocess.CompletedProcess[str]:
        return mpirun(ranks, program, f"--data={text}", *SMALL, *options, timeout=60)

    return start


def losses(folder: Path) -> dict[int, float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def test_the_number_of_ranks_does_not_change_the_loss_curve(train: Train, tmp_path: Path) -> None:
    """Within 1e-5 relative for 50 steps, and 12 sequences per step are not even for 8 ranks."""
    curves = {}
    for ranks in (1, 2, 4, 8):
        folder = tmp_path / str(ranks)
        done = train(ranks, f"--out={folder}", "--steps=50", "--batch-size=12", "--warmup=5")
        assert done.returncode == 0, done.stderr
        assert f"{ranks} rank(s) train" in done.stdout
        curves[ranks] = losses(folder)
        assert list(curves[ranks]) == list(range(1, 51))
    assert curves[1][50] < 0.8 * curves[1][1]
    for ranks in (2, 4, 8):
        for step, loss in curves[1].items():
            assert curves[ranks][step] == pytest.approx(loss, rel=1e-5), (ranks, step)
    # Each run is another order of additions: were all curves equal bitwise, ranks would not differ.
    assert len({tuple(curve.values()) for curve in curves.values()}) > 1


FAILING = """
import sys
sys.path.insert(0, {root!r})
import train
from pycoll.train import Trainer

make_step = Trainer.train_step

def fail_in_step_8(self):
    if self.step == 7 and self.comm.rank == 1:
        self.finish_saving()
        raise ZeroDivisionError("planted")
    return make_step(self)

Trainer.train_step = fail_in_step_8
train.main()
"""


def test_a_rank_that_fails_ends_the_job_and_a_resume_goes_on_bitwise(
    train: Train, tmp_path: Path
) -> None:
    """The failing rank alone says why; the checkpoint of step 5 is there, and is enough."""
    options = ["--steps=10", "--checkpoint-every=5", "--batch-size=7", "--warmup=2"]
    through = train(4, f"--out={tmp_path / 'through'}", *options)
    assert through.returncode == 0, through.stderr

    program = tmp_path / "failing.py"
    program.write_text(FAILING.format(root=str(ROOT)))
    folder = tmp_path / "stopped"
    failed = train(4, f"--out={folder}", *options, program=str(program))
    assert failed.returncode != 0
    assert "rank 1 of 4 failed; ending the job" in failed.stderr
    assert "rank 1: ZeroDivisionError: planted" in failed.stderr
    assert "rank 0: Traceback" not in failed.stderr
    assert list(losses(folder)) == [1, 2, 3, 4, 5, 6, 7]

    checkpoints = folder / "checkpoints"
    assert read_manifest(checkpoints)[1].description["step"] == 5
    resumed = train(4, f"--out={folder}", *options, f"--resume={checkpoints}")
    assert resumed.returncode == 0, resumed.stderr
    assert losses(folder) == losses(tmp_path / "through")
    at, found = read_manifest(checkpoints)
    other, expected = read_manifest(tmp_path / "through" / "checkpoints")
    assert found.description == expected.description
    assert found.description["step"] == 10
    assert found.entries == expected.entries
    for file in expected.files:
        arrays = load_file(at / file)
        for name, array in load_file(other / file).items():
            np.testing.assert_array_equal(arrays[name], array, err_msg=name)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ("--steps=many", 2, "argument --steps: invalid int value: 'many'"),
        ("--batch-size=0", 1, "batch_size must be at least 1, not 0"),
        ("--data=/no/such/text", 1, "/no/such/text: No such file or directory"),
        ("--resume=train.py", 1, "train.py is a file; a checkpoint is a folder"),
    ],
)
def test_wrong_options_give_one_error(
    mpirun: Mpirun, tmp_path: Path, options: str, code: int, message: str
) -> None:
    """Once, without a traceback, on 3 ranks."""
    done = mpirun(3, TRAIN, f"--out={tmp_path / 'out'}", *SMALL, options, timeout=60)
    assert done.returncode == code
    assert done.stderr.count(f"train.py: error: {message}") == 1
    assert "Traceback" not in done.stderr
    assert done.stdout.strip().count("\n") < 20  # Open MPI has something to say about exit codes
    assert not (tmp_path / "out").exists()


def test_without_mpirun_and_with_less_sequences_than_ranks(train: Train, tmp_path: Path) -> None:
    alone = subprocess.run(
        [sys.executable, TRAIN, f"--out={tmp_path / 'alone'}", *SMALL, "--steps=3"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert alone.returncode == 0, alone.stderr
    assert "1 rank(s) train" in alone.stdout

    few = train(4, f"--out={tmp_path / 'few'}", "--steps=3", "--batch-size=2", "--optimizer=sgd")
    assert few.returncode == 0, few.stderr
    assert sorted(path.name for path in (tmp_path / "few").iterdir()) == [
        "checkpoints",
        "loss.png",
        "metrics.jsonl",
        "sample.txt",
    ]


def test_a_hybrid_run_from_a_file_has_the_same_loss_curve_and_a_trace(
    train: Train, tmp_path: Path
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        'steps = 8\nwarmup = 2\n[mesh]\ndp = 2\ntp = 2\npp = 2\nzero = 1\nschedule = "gpipe"\n'
    )
    hybrid = train(8, f"--config={file}", f"--out={tmp_path / 'hybrid'}", "--trace=2")
    assert hybrid.returncode == 0, hybrid.stderr
    assert "8 rank(s), dp 2 x tp 2 x pp 2, train" in hybrid.stdout
    single = train(1, "--steps=8", "--warmup=2", f"--out={tmp_path / 'single'}")
    assert single.returncode == 0, single.stderr
    curves = losses(tmp_path / "hybrid"), losses(tmp_path / "single")
    assert list(curves[0]) == list(curves[1]) == list(range(1, 9))
    assert list(curves[0].values()) == pytest.approx(list(curves[1].values()), rel=1e-5)
    events = json.loads((tmp_path / "hybrid" / "trace.json").read_text())["traceEvents"]
    spans = [(event["pid"], event["name"]) for event in events if event["ph"] == "X"]
    for rank in range(8):
        names = [name for pid, name in spans if pid == rank]
        assert names.count("optimizer") == 2
        assert {"reduce gradients", "gather values", "tensor group"} <= set(names)


@pytest.mark.parametrize(
    ("ranks", "options", "shown"),
    [
        (3, ["--mode=ps"], "2 worker(s) and 1 server(s), in step, train"),
        (
            4,
            ["--mode=ps", "--servers=2", "--staleness=2", "--compress=8-bit", "--tied"],
            "2 worker(s) and 2 server(s), at most 2 steps apart, train",
        ),
        (3, ["--mode=local-sgd", "--local-steps=4"], "3 rank(s) train"),
    ],
)
def test_other_ways_to_agree_train_too(
    train: Train, tmp_path: Path, ranks: int, options: list[str], shown: str
) -> None:
    done = train(ranks, "--steps=40", "--warmup=5", f"--out={tmp_path}", *options)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
    assert ("updates that they had not seen" in done.stdout) == ("--mode=ps" in options)
    curve = losses(tmp_path)
    assert list(curve) == list(range(1, 41))
    assert np.mean(list(curve.values())[-5:]) < 0.8 * curve[1]
    _, manifest = read_manifest(tmp_path / "checkpoints")
    assert manifest.description["step"] == 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tp=3"], "dp 1 x tp 3 x pp 1 makes 3 rank(s), but there are 2; choose"),
        (["--mode=ps", "--zero=1"], "with a parameter server cannot share out optimizers"),
        (["--mode=ps", "--tp=2"], "with --mode ps every worker has the whole model"),
        (["--staleness=1"], "--staleness and --compress are for --mode ps"),
        (["--mode=ps", "--batch-size=3", "--micro-batches=4"], "cannot be cut into 4 pieces"),
        (["--mode=ps", "--servers=2"], "2 rank(s) must be at least one server and at least one"),
        (["--mode=ps", "--consistency=ssp"], "--consistency ssp needs --staleness"),
        (
            ["--mode=ps", "--consistency=asp", "--staleness=1"],
            "--staleness is for ssp, not for asp",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    train: Train, tmp_path: Path, options: list[str], message: str
) -> None:
    done = train(2, f"--out={tmp_path / 'new'}", *options)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "new").exists()
