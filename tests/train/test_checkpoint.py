"""Checkpoints are written whole or not at all, and refused unless they are what was written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pycoll.train import Checkpoint, CheckpointError, read_checkpoint, write_checkpoint
from pycoll.train.checkpoint.belonging import changed_settings, require_same


def example(step: int = 3) -> Checkpoint:
    generator = np.random.default_rng(step)
    arrays = {
        "model.weight": generator.standard_normal((3, 5)).astype(np.float32),
        "model.transposed": generator.standard_normal((4, 2)).T,
        "optimizer.steps": np.array([step]),
        "empty": np.zeros((0, 3)),
    }
    return Checkpoint(arrays, {"step": step, "model": {"width": 3}, "vocabulary": "aé\n"})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "checkpoint"
    write_checkpoint(path, example())
    read = read_checkpoint(path)
    assert read.description == example().description
    assert read.arrays.keys() == example().arrays.keys()
    for name, array in example().arrays.items():
        assert read.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(read.arrays[name], array, err_msg=name)


def test_it_is_a_safetensors_file(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "checkpoint", example())
    assert load_file(tmp_path / "checkpoint").keys() == example().arrays.keys()


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failure_while_writing_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "checkpoint"
    write_checkpoint(path, example(1))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(path, example(2))
    monkeypatch.undo()
    assert read_checkpoint(path).description["step"] == 1
    assert os.listdir(tmp_path) == ["checkpoint"]


def test_the_old_one_is_there_until_the_new_one_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the moment of the renaming the new file is complete and has been flushed."""
    path = tmp_path / "checkpoint"
    write_checkpoint(path, example(1))
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(handle: int) -> None:
        events.append("fsync")
        fsync(handle)

    def noted_replace(new: Path, old: Path) -> None:
        events.append("replace")
        assert read_checkpoint(Path(new)).description["step"] == 2
        assert read_checkpoint(Path(old)).description["step"] == 1
        replace(new, old)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_checkpoint(path, example(2))
    assert events == ["fsync", "replace", "fsync"]  # the last one of the folder
    assert read_checkpoint(path).description["step"] == 2


def cut(content: bytes) -> bytes:
    return content[:-1]


def cut_in_the_header(content: bytes) -> bytes:
    return content[:40]


def nothing(content: bytes) -> bytes:
    return b""


def longer(content: bytes) -> bytes:
    return content + b"\0"


def text(content: bytes) -> bytes:
    return b"no checkpoint at all, but some text"


def changed_byte(content: bytes) -> bytes:
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


def changed_step(content: bytes) -> bytes:
    return content.replace(rb"\"step\": 3", rb"\"step\": 4")


def changed_name(content: bytes) -> bytes:
    return content.replace(b"model.weight", b"model.height")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "truncated or no safetensors file"),
        (cut_in_the_header, "truncated or no safetensors file"),
        (nothing, "truncated or no safetensors file"),
        (longer, "truncated or no safetensors file"),
        (text, "truncated or no safetensors file"),
        (changed_byte, "is damaged: its content does not match its checksum"),
        (changed_step, "is damaged: its content does not match its checksum"),
        (changed_name, "is damaged: its content does not match its checksum"),
    ],
)
def test_a_damaged_file_is_refused(
    tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "checkpoint"
    write_checkpoint(path, example())
    content = path.read_bytes()
    damaged = damage(content)
    assert damaged != content
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "pycoll checkpoint 999"}])
def test_a_foreign_file_is_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "checkpoint"
    save_file({"weight": np.zeros(3)}, path, metadata=metadata)
    with pytest.raises(CheckpointError, match="is no checkpoint of this trainer"):
        read_checkpoint(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        read_checkpoint(tmp_path)


def test_a_checkpoint_of_something_else_is_named() -> None:
    path = Path("some/file")
    require_same(path, example(), {"model": {"width": 3}, "vocabulary": "aé\n"})
    with pytest.raises(CheckpointError, match=r"some/file.*another model: width is 3 there but 4"):
        require_same(path, example(), {"model": {"width": 4}})
    with pytest.raises(CheckpointError, match="another model: depth is None there but 2 here"):
        require_same(path, example(), {"model": {"width": 3, "depth": 2}})
    with pytest.raises(CheckpointError, match="another vocabulary"):
        require_same(path, example(), {"vocabulary": "a" * 1000})


def test_changed_settings_are_listed() -> None:
    checkpoint = Checkpoint({}, {"settings": {"steps": 5, "seed": 0}})
    assert changed_settings(checkpoint, {"steps": 5, "seed": 0}) == []
    assert changed_settings(checkpoint, {"steps": 9, "seed": 0, "new": 1}) == [
        "steps is now 9, was 5",
        "new is now 1, was None",
    ]
