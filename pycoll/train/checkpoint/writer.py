"""All ranks write a checkpoint together, while the training goes on."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from mpi4py import MPI
from safetensors import SafetensorError
from safetensors.numpy import save

from pycoll.train.array_module import as_numpy
from pycoll.train.checkpoint import folder
from pycoll.train.checkpoint.division import entries_to_write
from pycoll.train.checkpoint.held import Held
from pycoll.train.checkpoint.manifest import (
    MANIFEST,
    Entry,
    FileFacts,
    Manifest,
    entry_from_json,
    entry_to_json,
)
from pycoll.train.verdict import agreed, broadcast_text, gather_texts

if TYPE_CHECKING:
    from pycoll import Communicator


class CheckpointWriter:
    """Write checkpoints of all ranks of a communicator, one at a time. Collective.

    Every rank writes a file of its own: the folder must be one that all ranks see, unless rank 0
    holds everything (plain data parallelism). `save` copies what is to be written and returns; a
    thread does the rest. Where MPI does not allow calls from several threads, `save` does it all.

    Parameters
    ----------
    comm : Communicator
        All ranks of the run. It is duplicated: the thread's messages and the training's never meet.
    """

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm.dup()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, root: Path, held: Sequence[Held], description: dict[str, Any]) -> None:
        """Begin to write a checkpoint into a new folder in ``root``. Collective.

        The arrays may be changed as soon as this returns. It waits for the checkpoint before.

        Parameters
        ----------
        held : sequence of Held
            What this rank holds; all ranks together hold everything.
        description : dict
            What they belong to, with the "step"; JSON types only, the same on all ranks.

        Raises
        ------
        RefusedError
            On all ranks, when the checkpoint *before* could not be written, or when the ranks do
            not hold everything. Where it does it all, also when this one could not be written.
        TypeError, ValueError
            For a description that JSON cannot hold.
        """
        json.dumps(description, allow_nan=False)  # here, where it fails on all ranks
        self.wait()
        mine = [
            Entry(one.name, one.array.dtype.name, one.place, _file_of(self._comm.rank))
            for one in held
        ]
        texts = gather_texts(self._comm, json.dumps([entry_to_json(entry) for entry in mine]))
        with agreed(self._comm):
            division = entries_to_write(
                [[entry_from_json(value) for value in json.loads(text)] for text in texts]
            )
        wanted = {entry.name for entry in division[self._comm.rank]}
        copies = {
            one.name: np.array(as_numpy(one.array)).reshape(-1)
            for one in held
            if one.name in wanted
        }
        work = (root, copies, division, description)
        if MPI.Query_thread() < MPI.THREAD_MULTIPLE:
            self._write(*work)
        else:
            # No daemon: at the end of a program that does not wait, Python does.
            self._thread = threading.Thread(target=self._try, args=work, name="checkpoint")
            self._thread.start()

    def wait(self) -> None:
        """Wait until the last checkpoint is on the disk. Collective.

        Raises
        ------
        RefusedError
            On all ranks, when it could not be written; the one before is as it was.
        """
        if self._thread is None:
            return
        self._thread.join()
        self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _try(self, *work: Any) -> None:
        try:
            self._write(*work)
        except BaseException as error:  # for wait(), which raises it where somebody sees it
            self._error = error

    def _write(
        self,
        root: Path,
        arrays: dict[str, npt.NDArray[Any]],
        division: list[list[Entry]],
        description: dict[str, Any],
    ) -> None:
        comm = self._comm
        partial = Path()
        with agreed(comm):
            if comm.rank == 0:
                partial = folder.begin(root, description["step"])
        partial = Path(broadcast_text(comm, str(partial)))
        try:
            facts = ""
            with agreed(comm):
                if arrays:
                    facts = json.dumps(_write_shard(partial / _file_of(comm.rank), arrays))
            files = {
                _file_of(rank): FileFacts(**json.loads(text))
                for rank, text in enumerate(gather_texts(comm, facts))
                if text
            }
            with agreed(comm):
                if comm.rank == 0:
                    _require_files(partial, files)
                    entries = tuple(entry for part in division for entry in part)
                    manifest = Manifest(description, entries, files)
                    folder.write_file(partial / MANIFEST, manifest.encode())
                    folder.commit(partial)
        except BaseException:
            if comm.rank == 0:
                folder.abandon(partial)
            raise


def _file_of(rank: int) -> str:
    return f"rank-{rank:05}.safetensors"


def _write_shard(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    try:
        content = save(arrays)
    except (SafetensorError, KeyError) as error:
        dtypes = ", ".join(sorted({array.dtype.name for array in arrays.values()}))
        raise ValueError(f"safetensors cannot hold all of the dtypes {dtypes}") from error
    folder.write_file(path, content)
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _require_files(partial: Path, files: dict[str, FileFacts]) -> None:
    for name, facts in files.items():
        path = partial / name
        if not path.exists() or path.stat().st_size != facts.bytes:
            raise OSError(
                f"rank 0 does not see {path}, which another rank has written: checkpoints of "
                "several hosts need a folder that all of them share"
            )
