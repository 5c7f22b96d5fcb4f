"""A server: it keeps its parts of the parameters, and answers the workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, Never

import numpy as np

from pycoll import CollectiveError
from pycoll.train.ps.compression import Compression
from pycoll.train.ps.kept_part import KeptPart
from pycoll.train.ps.protocol import (
    FIRST_BUCKET_TAG,
    NOTICE_TAG,
    Notice,
    RankLostError,
    new_notice,
)
from pycoll.train.ps.report import Release, ServerReport
from pycoll.work import Work, wait_some

if TYPE_CHECKING:
    from pycoll import Communicator


class _Awaited(NamedTuple):
    """A message that a worker may send, and what to do when it has come."""

    work: Work[Any]
    worker: int
    is_push: bool
    take: Callable[[], None]


class Server:
    """Serves all workers until they have finished.

    It has one receive posted per worker, for the next notice, and those of the gradients that the
    worker has announced. It waits for whichever comes first.

    Parameters
    ----------
    patience : float
        Seconds after which a worker that should say something is given up.
    """

    def __init__(
        self,
        comm: Communicator,
        workers: Sequence[int],
        parts: Sequence[KeptPart],
        compression: Compression | None,
        patience: float,
        on_release: Callable[[Release], None] | None,
    ) -> None:
        self._comm = comm
        self._workers = list(workers)
        self._active = set(workers)
        self._parts = list(parts)
        self._compression = compression
        self._patience = patience
        self._on_release = on_release
        self._report = ServerReport()
        self._awaited: list[_Awaited] = []
        self._heard = dict.fromkeys(workers, monotonic())
        # Answers that a worker waits for here: it need not begin a step meanwhile.
        self._owed = dict.fromkeys(workers, 0)
        self._steps = dict.fromkeys(workers, 0)
        # The last answer of each; it has arrived when the worker speaks again.
        self._answers: dict[tuple[int, int], Work[None]] = {}
        self._inboxes = {
            (kept.bucket, worker): np.empty(self._push_bytes(kept), np.uint8)
            for kept in parts
            for worker in workers
        }

    def run(self) -> ServerReport:
        """Serve; return what was seen."""
        try:
            return self._serve()
        except RankLostError:
            raise
        except BaseException:
            with suppress(CollectiveError):  # that there is no way to say so is not the news
                self._tell(self._comm.rank, self._workers)
            raise

    def _serve(self) -> ServerReport:
        for kept in self._parts:
            kept.begin(self._workers)
        for worker in self._workers:
            self._await_notice(worker)
        while self._active:
            for awaited in self._arrived():
                self._heard[awaited.worker] = monotonic()
                awaited.take()
        for kept in self._parts:
            for worker in self._workers:
                self._send(kept, worker, kept.answer())
        for answer in self._answers.values():
            answer.wait()
        return self._report

    def _arrived(self) -> list[_Awaited]:
        """Wait for messages; remove them from those that are awaited, and return them."""
        deadlines = {
            awaited.worker: self._heard[awaited.worker] + self._patience
            for awaited in self._awaited
            if awaited.is_push or not self._owed[awaited.worker]
        }
        deadline = min(deadlines.values())
        works = [awaited.work for awaited in self._awaited]
        try:
            # A little more, so that by then the deadline is over.
            places = wait_some(works, max(deadline - monotonic(), 0) + 0.001)
        except TimeoutError:
            now = monotonic()
            if now < deadline:  # it is the communicator that gave up
                raise
            silent = sorted(worker for worker, end in deadlines.items() if end <= now)
            # They hear of it, too: they may only have been too slow.
            why = f"was not heard of for {self._patience:g} s"
            self._lose(silent, why, self._workers)
        arrived = [self._awaited[place] for place in places]
        for place in reversed(places):
            del self._awaited[place]
        return arrived

    def _await_notice(self, worker: int) -> None:
        notice = new_notice(Notice.STEP)
        work = self._comm.recv(notice, worker, NOTICE_TAG, async_op=True)
        self._awaited.append(
            _Awaited(work, worker, False, lambda: self._take_notice(worker, *notice.tolist()))
        )

    def _take_notice(self, worker: int, notice: int, rank: int) -> None:
        if notice == Notice.LOST:
            others = [other for other in self._workers if other != worker]
            why = "failed: see its own error" if rank == worker else f"is lost, says rank {worker}"
            self._lose([rank], why, others)
        if notice == Notice.FINISHED:
            self._active.discard(worker)
            for kept in self._parts:
                kept.finish(worker)
                self._release(kept)
            return
        self._steps[worker] += 1
        for kept in self._parts:
            self._await_push(worker, kept)
        self._await_notice(worker)

    def _await_push(self, worker: int, kept: KeptPart) -> None:
        inbox = self._inboxes[kept.bucket, worker]
        tag = FIRST_BUCKET_TAG + kept.bucket
        work = self._comm.recv(inbox, worker, tag, async_op=True)
        self._awaited.append(_Awaited(work, worker, True, lambda: self._take_push(worker, kept)))

    def _take_push(self, worker: int, kept: KeptPart) -> None:
        inbox = self._inboxes[kept.bucket, worker]
        part = kept.part
        if self._compression is None:
            gradients = inbox.view(part.dtype)
        else:
            gradients = np.empty(part.count, part.dtype)
            self._compression.decode(inbox, gradients)
        self._owed[worker] += 1
        kept.push(worker, gradients, self._report)
        self._release(kept)

    def _release(self, kept: KeptPart) -> None:
        for release in kept.release(self._report):
            self._send(kept, release.worker, kept.answer())
            self._owed[release.worker] -= 1
            # It is its turn again only now: what it waited for was not its fault.
            self._heard[release.worker] = monotonic()
            if self._on_release is not None:
                self._on_release(release)

    def _send(self, kept: KeptPart, worker: int, message: Any) -> None:
        tag = FIRST_BUCKET_TAG + kept.bucket
        self._answers[kept.bucket, worker] = self._comm.send(message, worker, tag, async_op=True)

    def _lose(self, lost: list[int], why: str, audience: list[int]) -> Never:
        self._tell(lost[0], audience)
        names = ", ".join(
            f"rank {rank}" + (f" (in its step {self._steps[rank]})" if rank in self._steps else "")
            for rank in lost
        )
        text = f"rank {self._comm.rank}: parameter server: {names} {why}"
        raise RankLostError(lost[0], text) from None

    def _tell(self, lost: int, audience: list[int]) -> None:
        """Tell workers who is lost, by the answers that they wait for or will wait for."""
        for kept in self._parts:
            for worker in audience:
                self._send(kept, worker, kept.lost_answer(lost))

    def _push_bytes(self, kept: KeptPart) -> int:
        part = kept.part
        if self._compression is None:
            return part.count * part.dtype.itemsize
        return self._compression.length(part.count, part.dtype)
