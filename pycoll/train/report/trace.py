"""A timeline of what every rank computes and communicates, for Perfetto and chrome://tracing.

Source: the Trace Event Format (Duffy et al., Google, 2016): complete events ("X") on the row of
what the rank computes, and on others what is in flight meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pycoll.train.verdict import agreed, gather_texts

if TYPE_CHECKING:
    from pycoll import Communicator

#: The row of what the rank itself does; overlapping events in flight get the rows below it.
_OWN_ROW = 0


@dataclass(frozen=True)
class Event:
    """Something that took some time.

    Attributes
    ----------
    category : {"compute", "communication", "waiting"}
    begin, end : float
        Seconds since the start of the trace.
    in_flight : bool
        Whether it went on beside what the rank did.
    """

    name: str
    category: str
    begin: float
    end: float
    in_flight: bool = False


class Trace:
    """The events of one rank.

    Making one is collective: all ranks start their clocks together, behind a barrier.
    """

    def __init__(self, comm: Communicator) -> None:
        self.comm = comm
        self.events: list[Event] = []
        comm.barrier()
        self._start = perf_counter()

    def now(self) -> float:
        """Return the seconds since the start."""
        return perf_counter() - self._start

    def add(
        self, name: str, category: str, begin: float, end: float, *, in_flight: bool = False
    ) -> None:
        """Note an event; ``begin`` and ``end`` as `now` returns them."""
        self.events.append(Event(name, category, begin, end, in_flight))

    def write(self, path: Path) -> None:
        """Write the events of all ranks into one file; rank 0 does. Collective.

        Raises
        ------
        RefusedError
            On all ranks, when it cannot be written.
        """
        texts = gather_texts(self.comm, json.dumps(_records(self.events, self.comm.rank)))
        with agreed(self.comm):
            if self.comm.rank == 0:
                records = [record for text in texts for record in json.loads(text)]
                content = json.dumps({"traceEvents": records, "displayTimeUnit": "ms"})
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")


_active: Trace | None = None


@contextmanager
def tracing(trace: Trace) -> Iterator[Trace]:
    """Let `span` and `Flight` note into ``trace`` what happens in the block."""
    global _active
    before, _active = _active, trace
    try:
        yield trace
    finally:
        _active = before


@contextmanager
def span(name: str, category: str = "compute") -> Iterator[None]:
    """Note how long the block takes, where a trace is active."""
    trace = _active
    if trace is None:
        yield
        return
    begin = trace.now()
    try:
        yield
    finally:
        trace.add(name, category, begin, trace.now())


class Flight:
    """Something that goes on beside what the rank does, from now until `land`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._trace = _active
        self._begin = 0.0 if self._trace is None else self._trace.now()

    def land(self) -> None:
        """Note that it is over."""
        if self._trace is not None:
            self._trace.add(
                self._name, "communication", self._begin, self._trace.now(), in_flight=True
            )


def _records(events: list[Event], rank: int) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": rank, "args": {"name": f"rank {rank}"}},
        {"ph": "M", "name": "process_sort_index", "pid": rank, "args": {"sort_index": rank}},
    ]
    for event, row in zip(events, _rows(events), strict=True):
        records.append(
            {
                "ph": "X",
                "name": event.name,
                "cat": event.category,
                "ts": round(event.begin * 1e6, 3),
                "dur": round((event.end - event.begin) * 1e6, 3),
                "pid": rank,
                "tid": row,
            }
        )
    for row in sorted({_OWN_ROW, *_rows(events)}):
        name = "compute" if row == _OWN_ROW else f"in flight {row}"
        records.append(
            {"ph": "M", "name": "thread_name", "pid": rank, "tid": row, "args": {"name": name}}
        )
    return records


def _rows(events: list[Event]) -> list[int]:
    """Return a row for each event, such that those of one row in flight do not overlap."""
    rows = [_OWN_ROW] * len(events)
    free_from: list[float] = []
    in_flight = [index for index, event in enumerate(events) if event.in_flight]
    for index in sorted(in_flight, key=lambda index: events[index].begin):
        event = events[index]
        row = next((row for row, end in enumerate(free_from) if end <= event.begin), None)
        if row is None:
            row = len(free_from)
            free_from.append(0.0)
        free_from[row] = event.end
        rows[index] = row + 1
    return rows
