"""Whenever a job is killed, the folder of checkpoints names a whole one."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pycoll.train import CheckpointError
from pycoll.train.checkpoint import folder

FILES = {"manifest.json": b"the manifest", "rank-00000.safetensors": b"arrays" * 100}


def write(root: Path, step: int) -> Path:
    partial = folder.begin(root, step)
    for name, content in FILES.items():
        folder.write_file(partial / name, content + bytes([step]))
    return folder.commit(partial)


def require_whole(path: Path, step: int) -> None:
    found = {file.name: file.read_bytes() for file in path.iterdir()}
    assert found == {name: content + bytes([step]) for name, content in FILES.items()}


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_the_latest_and_the_one_before_are_kept(tmp_path: Path) -> None:
    root = tmp_path / "new" / "folder"
    for step in (1, 2, 3):
        assert write(root, step) == folder.find(root)
    assert names(root) == ["latest", "step-00000002", "step-00000003"]
    require_whole(folder.find(root), 3)
    require_whole(folder.find(root / "step-00000002"), 2)


def test_a_step_that_is_there_already_is_not_overwritten(tmp_path: Path) -> None:
    """It becomes the one before; once it is removed, its name is free again."""
    made = [write(tmp_path, 2).name for _ in range(4)]
    assert made == ["step-00000002", "step-00000002-2", "step-00000002-3", "step-00000002"]
    assert names(tmp_path) == ["latest", "step-00000002", "step-00000002-3"]
    assert folder.find(tmp_path).name == "step-00000002"


def test_what_is_no_checkpoint_is_left_alone(tmp_path: Path) -> None:
    for name in ("step-1", "notes", "step-00000001.old"):
        (tmp_path / name).mkdir()
    for step in (1, 2, 3):
        write(tmp_path, step)
    assert {"step-1", "notes", "step-00000001.old"} <= set(names(tmp_path))


def killed_at(line: int, action: Callable[[], Any]) -> bool:
    """Do ``action`` in a process that is killed before so many lines of `folder` and `shutil`.

    Returns whether it was killed.
    """
    child = os.fork()
    if child == 0:
        left = line

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal left
            if frame.f_code.co_filename not in (folder.__file__, shutil.__file__):
                return None
            if event == "line":
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
            return trace

        sys.settrace(trace)
        try:
            action()
        finally:
            os._exit(0)  # nothing of pytest's or MPI's ends in this process
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_a_kill_at_any_line_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """Step 3 is written, from scratch each time, by a process that is killed earlier or later."""
    seen: list[int] = []
    line, killed = 0, True
    while killed:
        root = tmp_path / str(line)
        write(root, 1)
        write(root, 2)
        killed = killed_at(line, lambda root=root: write(root, 3))
        step = int(folder.find(root).name.removeprefix("step-"))
        require_whole(folder.find(root), step)
        seen.append(step)
        # The next job goes on from there, and leaves nothing of the unfinished one.
        require_whole(write(root, 4), 4)
        assert len(names(root)) == 3
        line += 1
    assert line > 30
    assert set(seen) == {2, 3}
    assert seen == sorted(seen)  # 2 up to the moment at which `latest` is replaced, then 3


@pytest.mark.parametrize("failing", ["fsync", "rename", "replace"])
def test_a_failure_while_writing_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    write(tmp_path, 1)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, 2)
    monkeypatch.undo()
    require_whole(folder.find(tmp_path), 1)
    require_whole(write(tmp_path, 3), 3)
    assert names(tmp_path) == ["latest", "step-00000001", "step-00000003"]


def test_everything_is_on_the_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files before their folder, that before its renaming, that before ``latest`` changes."""
    events: list[str] = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def noted_fsync(handle: int) -> None:
        events.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
        fsync(handle)

    def noted(kind: str, function: Callable[..., None]) -> Callable[..., None]:
        def call(old: Path, new: Path, **_: Any) -> None:
            events.append(f"{kind} to {Path(new).name}")
            function(old, new)

        return call

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted("rename", rename))
    monkeypatch.setattr(os, "replace", noted("rename", replace))
    write(tmp_path, 1)
    assert events == [
        "fsync manifest.json",
        "fsync rank-00000.safetensors",
        "fsync step-00000001.partial",
        "rename to step-00000001",
        f"fsync {tmp_path.name}",
        "fsync latest.partial",
        "rename to latest",
        f"fsync {tmp_path.name}",
    ]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        folder.find(tmp_path / "missing")
    with pytest.raises(CheckpointError, match=r"has neither a file 'latest'.* nor a manifest.json"):
        folder.find(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is a file; a checkpoint is a folder"):
        folder.find(tmp_path / "file")


@pytest.mark.parametrize("content", ["step-00000009", "", "../elsewhere", "\0\xff"])
def test_a_wrong_latest_names_what_there_is(tmp_path: Path, content: str) -> None:
    write(tmp_path, 1)
    (tmp_path / "latest").write_text(content)
    with pytest.raises(CheckpointError, match="is no checkpoint; there is step-00000001"):
        folder.find(tmp_path)
