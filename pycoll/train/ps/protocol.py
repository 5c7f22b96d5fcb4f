"""What workers and servers send each other.

A worker and a server have one tag for notices and one per bucket. A step of a worker is: a notice
that it begins; for each bucket the gradients, as soon as they are complete; for each bucket the
answer, as soon as the worker may go on. When a worker has finished, it says so, and is answered by
the final parameters when all have. So every message has a length that both know.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

NOTICE_TAG = 0
FIRST_BUCKET_TAG = 1

#: Bytes before the parameters of an answer; they keep the parameters aligned.
HEADER_BYTES = 16


class RankLostError(RuntimeError):
    """A rank failed, or was not heard of in time; raised by all others that take part.

    Attributes
    ----------
    rank : int
        The rank that is lost.
    """

    def __init__(self, rank: int, text: str) -> None:
        super().__init__(text)
        self.rank = rank


class Notice(IntEnum):
    """What a worker says to all servers."""

    STEP = 0
    FINISHED = 1
    #: A rank is lost, whose number follows; often the worker itself.
    LOST = 2


class Answer(IntEnum):
    """What a server's message begins with."""

    PARAMETERS = 0
    #: A rank is lost, whose number follows; so is the run.
    LOST = 1


def new_notice(notice: Notice, rank: int = 0) -> npt.NDArray[np.int64]:
    """Return a message of a worker to all servers."""
    return np.array([notice, rank], dtype=np.int64)


def new_answer(answer: Answer, rank: int, body: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return a message with a copy of ``body``."""
    message = np.empty(HEADER_BYTES + body.nbytes, np.uint8)
    message[:HEADER_BYTES].view(np.int64)[:] = answer, rank
    message[HEADER_BYTES:].view(body.dtype)[:] = body
    return message


def open_answer(message: npt.NDArray[np.uint8], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the parameters in an answer, which are a view of it.

    Raises
    ------
    RankLostError
        When it brings other news.
    """
    answer, rank = message[:HEADER_BYTES].view(np.int64)
    if answer == Answer.LOST:
        raise RankLostError(
            int(rank),
            f"rank {rank} is lost, and with it this run; its own error, or a server's, says more",
        )
    return message[HEADER_BYTES:].view(dtype)
