"""What every rank has to say, on all ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pycoll import Communicator


def gathered_texts(comm: Communicator, text: str) -> list[str]:
    """Return the texts of all ranks. Collective."""
    data = np.frombuffer(text.encode(), np.uint8)
    lengths = [int(length) for length in comm.all_gather(np.array([data.size], np.int64))]
    joined = comm.all_gather_v(data, lengths)
    parts = np.split(joined, np.cumsum(lengths)[:-1])
    return [part.tobytes().decode() for part in parts]
