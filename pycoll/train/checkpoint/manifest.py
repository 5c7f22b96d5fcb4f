"""The table of contents of a checkpoint: which file holds which elements of which tensor."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycoll.train.checkpoint.place import Place
from pycoll.train.layers.shard import Shard

MANIFEST = "manifest.json"
_FORMAT = "pycoll checkpoint 2"


class CheckpointError(ValueError):
    """A file or folder is no checkpoint, is damaged, or belongs to another run."""


@dataclass(frozen=True)
class Entry:
    """An array in a file, where it has the name of its tensor."""

    name: str
    dtype: str
    place: Place
    file: str


@dataclass(frozen=True)
class FileFacts:
    """By which a file is recognised: its length and checksum."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint is.

    Attributes
    ----------
    description : dict
        What the arrays belong to, such as the step and the model's shape; JSON types only.
    entries : tuple of Entry
    files : dict of str to FileFacts
        By name; all that the entries lie in.
    """

    description: dict[str, Any]
    entries: tuple[Entry, ...]
    files: dict[str, FileFacts]

    def encode(self) -> bytes:
        """Return the content of the manifest file."""
        content = {
            "description": self.description,
            "entries": [entry_to_json(entry) for entry in self.entries],
            "files": {name: vars(facts) for name, facts in self.files.items()},
        }
        document = {"format": _FORMAT, "sha256": _digest(content), "content": content}
        return json.dumps(document, indent=1).encode()

    @classmethod
    def decode(cls, content: bytes, path: Path) -> Manifest:
        """Read the content of the manifest file at ``path``.

        Raises
        ------
        CheckpointError
            When it is of no checkpoint of ours, or not what was written.
        """
        try:
            document = json.loads(content)
        except ValueError as error:  # also text that is no UTF-8
            raise CheckpointError(
                f"{path} is truncated or no manifest of a checkpoint ({error}); use another "
                "checkpoint"
            ) from error
        found = document.get("format") if isinstance(document, dict) else None
        if found != _FORMAT:
            raise CheckpointError(
                f"{path} is no checkpoint of this trainer: its format is {found!r}, not {_FORMAT!r}"
            )
        inner = document.get("content")
        if document.get("sha256") != _digest(inner):
            raise CheckpointError(
                f"{path} is damaged: its content does not match its checksum; use another "
                "checkpoint"
            )
        return cls(
            inner["description"],
            tuple(entry_from_json(entry) for entry in inner["entries"]),
            {name: FileFacts(**facts) for name, facts in inner["files"].items()},
        )


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON types; `entry_from_json` is the way back."""
    place = entry.place
    return {
        "name": entry.name,
        "dtype": entry.dtype,
        "shape": list(place.shape),
        "shard": None
        if place.shard is None
        else {"axis": place.shard.axis, "ranges": [list(pair) for pair in place.shard.ranges]},
        "flat": [place.start, place.stop],
        "file": entry.file,
    }


def entry_from_json(value: dict[str, Any]) -> Entry:
    """Return the entry that `entry_to_json` has described."""
    shape = tuple(value["shape"])
    shard = value["shard"] and Shard(
        shape,
        value["shard"]["axis"],
        tuple((start, stop) for start, stop in value["shard"]["ranges"]),
    )
    return Entry(value["name"], value["dtype"], Place(shape, shard, *value["flat"]), value["file"])


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
