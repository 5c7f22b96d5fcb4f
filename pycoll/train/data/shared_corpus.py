"""One corpus for all ranks, from the text that rank 0 has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pycoll.train.data.corpus import Corpus
from pycoll.train.data.text import read_text
from pycoll.train.verdict import agreed, broadcast_text

if TYPE_CHECKING:
    from pycoll import Communicator


def shared_corpus(comm: Communicator, path: Path | None, context: int) -> Corpus:
    """Return the corpus of a text that rank 0 reads. Collective.

    All ranks get rank 0's text: other hosts may lack the file, or have another version of it.

    Parameters
    ----------
    path : Path, optional
        A UTF-8 file; the Python language reference by default.
    context : int
        Length of the sequences that will be cut from it.

    Raises
    ------
    RefusedError
        On all ranks, when the text cannot be read or is too short.
    """
    text = ""
    with agreed(comm):
        if comm.rank == 0:
            text = read_text(path)
            Corpus.of(text, context)
    return Corpus.of(broadcast_text(comm, text), context)
