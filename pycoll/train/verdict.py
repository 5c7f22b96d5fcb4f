"""Steps that not every rank takes or that may fail on some ranks only, and what all then do.

Rank 0 reads files (a host may lack them); a host may lack a GPU. All ranks must learn of such a
failure: a rank that raises alone leaves the others waiting for it for ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pycoll import Communicator


class AgreedError(Exception):
    """An error that all ranks raise together, with one text: no rank is left waiting."""


class RefusedError(AgreedError):
    """Some rank could not do what the user asked for; raised on every rank with one text."""


@contextmanager
def agreed(comm: Communicator) -> Iterator[None]:
    """Run a block whose failure on any rank becomes `RefusedError` on all ranks.

    Collective. The block itself must not communicate; often it is ``if comm.rank == 0: ...``.
    Failures are ``OSError``, ``ValueError`` and ``ImportError``: what wrong files, numbers and
    installations lead to. Where several ranks fail, the lowest one's text is taken.
    """
    cause: Exception | None = None
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        cause = error
    first = np.array([comm.size if cause is None else comm.rank], dtype=np.int64)
    comm.all_reduce(first, op="min")
    if first[0] < comm.size:
        text = "" if cause is None else _text_of(cause)
        raise RefusedError(broadcast_text(comm, text, root=int(first[0]))) from cause


def broadcast_text(comm: Communicator, text: str, root: int = 0) -> str:
    """Return the ``text`` of ``root`` on all ranks. Collective."""
    data = text.encode()
    length = np.array([len(data)], dtype=np.int64)
    comm.broadcast(length, root=root)
    content: npt.NDArray[np.uint8] = np.zeros(int(length[0]), dtype=np.uint8)
    if comm.rank == root:
        content[:] = np.frombuffer(data, dtype=np.uint8)
    comm.broadcast(content, root=root)
    return content.tobytes().decode()


def gather_texts(comm: Communicator, text: str) -> list[str]:
    """Return the texts of all ranks, in their order, on all ranks. Collective."""
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    lengths = comm.all_gather(np.array([len(data)], dtype=np.int64)).tolist()
    joined = comm.all_gather_v(data, lengths).tobytes()
    texts, start = [], 0
    for length in lengths:
        texts.append(joined[start : start + length].decode())
        start += length
    return texts


def require_same(comm: Communicator, values: Mapping[str, object]) -> None:
    """Refuse values that are not the same on all ranks. Collective.

    Parameters
    ----------
    values : mapping
        By the names under which a user knows them; compared by their text (`repr`).

    Raises
    ------
    RefusedError
        On all ranks; it names the first rank that differs from rank 0, and in what.
    """
    own = {name: repr(value) for name, value in values.items()}
    first, *others = map(json.loads, gather_texts(comm, json.dumps(own)))
    for rank, other in enumerate(others, start=1):
        differ = sorted(name for name in first | other if first.get(name) != other.get(name))
        if differ:
            name = differ[0]
            raise RefusedError(
                f"{name!r} is {first.get(name)} on rank 0, but {other.get(name)} on rank {rank}; "
                "all ranks must pass the same"
            )


def _text_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or repr(error)
