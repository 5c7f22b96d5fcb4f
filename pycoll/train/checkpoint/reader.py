"""Ranks of any mesh take what they need from a checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import deserialize

from pycoll.train.array_module import array_module_of
from pycoll.train.checkpoint.belonging import require_same
from pycoll.train.checkpoint.folder import find
from pycoll.train.checkpoint.held import Held
from pycoll.train.checkpoint.intervals import Intervals
from pycoll.train.checkpoint.manifest import MANIFEST, CheckpointError, Entry, FileFacts, Manifest
from pycoll.train.checkpoint.place import Runs, copy_runs, overlap
from pycoll.train.state import StateError
from pycoll.train.verdict import agreed, broadcast_text, gather_texts

if TYPE_CHECKING:
    from pycoll import Communicator


def read_manifest(path: Path) -> tuple[Path, Manifest]:
    """Return the folder of a checkpoint and what is in it.

    Parameters
    ----------
    path : Path
        Of one checkpoint, or of the folder of several: then the latest one is taken.

    Raises
    ------
    OSError
        When it cannot be read.
    CheckpointError
        When it is no checkpoint, or damaged.
    """
    at = find(path)
    return at, Manifest.decode((at / MANIFEST).read_bytes(), at / MANIFEST)


def load_checkpoint(
    comm: Communicator,
    path: Path,
    held: Sequence[Held],
    identity: Mapping[str, Any],
    replicas: Communicator | None = None,
) -> dict[str, Any]:
    """Fill the arrays of all ranks from a checkpoint. Collective.

    It may have been written by any number of ranks in any mesh. Each rank reads the files that hold
    something of what it needs, one after the other.

    Parameters
    ----------
    comm : Communicator
        All ranks of the run.
    path : Path
        See `read_manifest`. Rank 0's counts.
    held : sequence of Held
        What this rank needs; the arrays are overwritten. All ranks together need everything.
    identity : mapping
        What the checkpoint's description must contain.
    replicas : Communicator, optional
        Ranks that need the same: its rank 0 reads, the others are sent it.

    Returns
    -------
    dict
        The description.

    Raises
    ------
    RefusedError
        On all ranks, when the checkpoint is unreadable, damaged, incomplete, or of something else.
        All arrays are then unchanged.
    """
    at, manifest = path, Manifest({}, (), {})
    with agreed(comm):
        if comm.rank == 0:
            at, manifest = read_manifest(path)
            require_same(at, manifest.description, identity)
    at = Path(broadcast_text(comm, str(at)))
    content = broadcast_text(comm, manifest.encode().decode())
    manifest = Manifest.decode(content.encode(), at / MANIFEST)
    needed = gather_texts(comm, json.dumps([one.name for one in held]))
    reads = replicas is None or replicas.rank == 0
    staged: list[npt.NDArray[Any]] = []
    with agreed(comm):
        _require_all_needed(at, manifest, {name for text in needed for name in json.loads(text)})
        if reads:
            staged = _assemble(at, manifest, held)
    for one, values in zip(held, staged, strict=False):
        one.array[...] = array_module_of(one.array).asarray(values.reshape(one.array.shape))
    if replicas is not None:
        for one in held:
            replicas.broadcast(one.array, root=0)
    return manifest.description


def _assemble(at: Path, manifest: Manifest, held: Sequence[Held]) -> list[npt.NDArray[Any]]:
    entries: dict[str, list[Entry]] = defaultdict(list)
    for entry in manifest.entries:
        entries[entry.name].append(entry)
    staged = []
    copies: dict[str, list[tuple[str, Runs, npt.NDArray[Any]]]] = defaultdict(list)
    for one in held:
        if one.name not in entries:
            raise StateError(f"{at} has no {one.name!r}, which this run needs")
        values = np.empty(one.place.size, dtype=one.array.dtype)
        staged.append(values)
        there = Intervals()
        for entry in entries[one.name]:
            _require_same_tensor(at, entry, one)
            runs = overlap(entry.place, one.place)
            if len(runs.length):
                there.add(runs.local, runs.local + runs.length)
                copies[entry.file].append((entry.name, runs, values))
        if not there.cover(one.place.size):
            raise CheckpointError(f"{at} lacks some of the elements of {one.name!r}")
    for name, wanted in copies.items():
        content = _read_file(at / name, manifest.files[name])
        for tensor, runs, values in wanted:
            copy_runs(runs, np.frombuffer(content[tensor], dtype=values.dtype), values)
    return staged


def _read_file(path: Path, facts: FileFacts) -> dict[str, bytes]:
    content = path.read_bytes()
    if len(content) != facts.bytes:
        raise CheckpointError(
            f"{path} is truncated or no longer what was written: it has {len(content)} bytes "
            f"instead of {facts.bytes}; use another checkpoint"
        )
    if hashlib.sha256(content).hexdigest() != facts.sha256:
        raise CheckpointError(
            f"{path} is damaged: its content does not match its checksum; use another checkpoint"
        )
    # Not as arrays: safetensors makes none of bfloat16 for NumPy.
    tensors = deserialize(content)  # type: ignore[no-untyped-call]
    return {name: tensor["data"] for name, tensor in tensors}


def _require_same_tensor(at: Path, entry: Entry, one: Held) -> None:
    if entry.place.shape != one.place.shape or entry.dtype != one.array.dtype.name:
        raise StateError(
            f"{one.name!r} has shape {entry.place.shape} and dtype {entry.dtype} in {at}, but "
            f"{one.place.shape} and {one.array.dtype.name} here"
        )


def _require_all_needed(at: Path, manifest: Manifest, needed: set[str]) -> None:
    spare = sorted({entry.name for entry in manifest.entries} - needed)
    if spare:
        raise StateError(f"{at} has {spare[0]!r}, which this run does not know")
