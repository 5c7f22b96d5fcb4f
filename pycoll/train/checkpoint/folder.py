"""Checkpoints in a folder: a sub-folder each, and a file that names the latest whole one.

::

    checkpoints/
        latest                      the name of the latest checkpoint, one line
        step-00000200/              the one before, kept as well
        step-00000400/
            manifest.json
            rank-00000.safetensors
            rank-00001.safetensors

A checkpoint is written into a folder that is not a checkpoint yet (``step-00000400.partial``),
flushed to the disk, renamed, and then named in ``latest``, a file that is replaced by renaming,
too. So whenever the job or the machine stops, ``latest`` names a whole checkpoint: the new one or
the one before.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from pycoll.train.checkpoint.manifest import MANIFEST, CheckpointError

LATEST = "latest"
_PARTIAL = ".partial"
_CHECKPOINT = re.compile(r"step-\d{8,}(-\d+)?")


def begin(root: Path, step: int) -> Path:
    """Make an empty folder for the files of a new checkpoint, and return it.

    Removes what earlier jobs have left unfinished.
    """
    root.mkdir(parents=True, exist_ok=True)
    for left in root.glob(f"step-*{_PARTIAL}"):
        shutil.rmtree(left)
    partial = root / f"step-{step:08}{_PARTIAL}"
    partial.mkdir()
    return partial


def write_file(path: Path, content: bytes) -> None:
    """Write a new file and flush it to the disk."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def commit(partial: Path) -> Path:
    """Make the folder of `begin`, with all its files, the latest checkpoint; return its path.

    The one that was the latest is kept, older ones are removed.
    """
    root = partial.parent
    _sync_folder(partial)
    final = _free_name(root / partial.name.removesuffix(_PARTIAL))
    partial.rename(final)
    _sync_folder(root)
    before = _latest_name(root)
    _point_to(root, final.name)
    for old in root.iterdir():
        if _CHECKPOINT.fullmatch(old.name) and old.name not in (before, final.name):
            # What cannot be removed is tried again at the next checkpoint.
            shutil.rmtree(old, ignore_errors=True)
    return final


def abandon(partial: Path) -> None:
    """Remove a folder of `begin`, if it is there."""
    shutil.rmtree(partial, ignore_errors=True)


def find(path: Path) -> Path:
    """Return the folder of a checkpoint, given that itself or the folder of several.

    Raises
    ------
    OSError
        When there is nothing at ``path``.
    CheckpointError
        When what is there is no checkpoint.
    """
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    if not path.is_dir():
        raise CheckpointError(f"{path} is a file; a checkpoint is a folder with a {MANIFEST}")
    name = _latest_name(path)
    if name is None:
        if not (path / MANIFEST).exists():
            raise CheckpointError(
                f"{path} is no checkpoint: it has neither a file {LATEST!r}, as the folder of "
                f"several has, nor a {MANIFEST}"
            )
        return path
    if not _CHECKPOINT.fullmatch(name) or not (path / name / MANIFEST).exists():
        others = sorted(at.parent.name for at in path.glob(f"step-*/{MANIFEST}"))
        raise CheckpointError(
            f"{path / LATEST} names {name!r}, which is no checkpoint; "
            + (f"there is {', '.join(others)}" if others else "there is no other one")
        )
    return path / name


def _latest_name(root: Path) -> str | None:
    try:
        return (root / LATEST).read_text(errors="replace").strip()
    except FileNotFoundError:
        return None


def _point_to(root: Path, name: str) -> None:
    temporary = root / f"{LATEST}{_PARTIAL}"
    temporary.unlink(missing_ok=True)
    write_file(temporary, f"{name}\n".encode())
    os.replace(temporary, root / LATEST)
    _sync_folder(root)


def _free_name(wanted: Path) -> Path:
    # Taken where a run was resumed from an earlier step, or started anew in the same folder.
    number, free = 1, wanted
    while free.exists():
        number += 1
        free = wanted.with_name(f"{wanted.name}-{number}")
    return free


def _sync_folder(folder: Path) -> None:
    # Without it the names in the folder may be lost in a power failure.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
