"""Numbers that make no sense are refused where they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pycoll.train import SGD, AdamW, GPTConfig, RunOptions, Settings

GOOD = {"steps": 5, "batch_size": 4, "learning_rate": 0.1}
SHAPE = {"vocabulary": 7, "context": 5, "width": 4, "heads": 2, "layers": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"bucket_bytes": 0}, "bucket_bytes must be at least 1, not 0"),
        ({"micro_batches": 0}, "micro_batches must be at least 1, not 0"),
        ({"max_norm": 0.0}, "max_norm must be above 0, not 0.0"),
        ({"local_steps": -1}, "local_steps must not be negative: -1"),
        ({"local_steps": 2, "zero": 1}, "zero must be 0 with local_steps"),
        ({"local_steps": 2, "max_norm": 1.0}, "leave out max_norm"),
        ({"zero": 2}, "there is no zero stage 2; choose 0 or 1"),
        ({"precision": "half"}, "unknown precision 'half'; choose 'full' or 'bfloat16'"),
        ({"warmup": -1}, "warmup must not be negative: -1"),
        ({"seed": -1}, "seed must not be negative: -1"),
        ({"weight_decay": -0.1}, "weight_decay must not be negative: -0.1"),
        ({"weight_decay": float("nan")}, "weight_decay must not be negative: nan"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, not 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0, not nan"),
        ({"learning_rate": float("inf")}, "learning_rate must be above 0, not inf"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), not 1.0"),
        ({"optimizer": "magic"}, "unknown optimizer 'magic'; choose 'adamw' or 'sgd'"),
    ],
)
def test_settings(changes: dict[str, Any], message: str) -> None:
    Settings(**GOOD)
    with pytest.raises(ValueError, match=message):
        Settings(**{**GOOD, **changes})


@pytest.mark.parametrize("name", SHAPE)
def test_model_shapes_start_at_one(name: str) -> None:
    GPTConfig(**SHAPE)
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        GPTConfig(**{**SHAPE, name: 0})


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 4 is not a multiple of heads 3"):
        GPTConfig(**{**SHAPE, "heads": 3})


@pytest.mark.parametrize("name", ["checkpoint_every", "validate_every", "sample_length"])
def test_run_options(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must not be negative: -1"):
        RunOptions(Path(), **{name: -1})


def test_settings_make_the_optimizer_and_the_schedule() -> None:
    adamw = Settings(**GOOD, weight_decay=0.2).make_optimizer([])
    assert isinstance(adamw, AdamW)
    assert adamw.weight_decay == 0.2
    sgd = Settings(**GOOD, optimizer="sgd", momentum=0.7, weight_decay=0.2).make_optimizer([])
    assert isinstance(sgd, SGD)
    assert (sgd.momentum, sgd.weight_decay) == (0.7, 0.2)
    schedule = Settings(**GOOD, warmup=2).make_schedule()
    assert (schedule.peak, schedule.warmup, schedule.steps) == (0.1, 2, 5)
