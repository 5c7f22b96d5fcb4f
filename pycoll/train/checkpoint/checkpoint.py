"""One file that holds all that a run needs to continue: arrays and a description."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

_FORMAT = "pycoll checkpoint 1"


class CheckpointError(ValueError):
    """A file is no checkpoint, is damaged, or belongs to another run."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run.

    Attributes
    ----------
    arrays : mapping of str to NDArray
    description : dict
        What the arrays belong to, such as the step and the model's shape; JSON types only.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    description: dict[str, Any]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that ``path`` always holds a complete one.

    The file is written beside ``path``, flushed to the disk, and then renamed over it: a crash at
    any moment leaves the previous checkpoint.

    Raises
    ------
    OSError
        When it cannot be written. ``path`` is then as it was.
    """
    description = json.dumps(checkpoint.description, sort_keys=True)
    arrays = {name: np.ascontiguousarray(array) for name, array in checkpoint.arrays.items()}
    content = save(
        arrays,
        metadata={
            "format": _FORMAT,
            "description": description,
            "sha256": _digest(arrays, description),
        },
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and make sure that it is whole.

    Raises
    ------
    OSError
        When the file cannot be opened.
    CheckpointError
        When it is no checkpoint of ours, or its content is not what was written.
    """
    with path.open("rb"):
        pass  # safetensors reports a missing or forbidden file less clearly
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            # Before any array is read: another program's may be huge, or of dtypes NumPy lacks.
            _require_format(path, metadata)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is truncated or no safetensors file ({error}); use another checkpoint"
        ) from error
    description = metadata.get("description", "")
    if metadata.get("sha256") != _digest(arrays, description):
        raise CheckpointError(
            f"{path} is damaged: its content does not match its checksum; use another checkpoint"
        )
    return Checkpoint(arrays, json.loads(description))


def _require_format(path: Path, metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path} is no checkpoint of this trainer: its format is "
            f"{metadata.get('format')!r}, not {_FORMAT!r}"
        )


def _digest(arrays: Mapping[str, npt.NDArray[Any]], description: str) -> str:
    # safetensors finds a truncated file by its lengths, but not a changed byte.
    digest = hashlib.sha256(description.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    # Without it the rename itself may be lost in a power failure.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
