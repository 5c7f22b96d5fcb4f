"""What a trace holds, and what viewers of the Trace Event Format get of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from recorded import RecordedCommunicator

from pycoll.train.report.trace import Flight, Trace, span, tracing


def make_trace() -> Trace:
    return Trace(RecordedCommunicator())  # type: ignore[arg-type]


def written(trace: Trace, folder: Path) -> list[dict[str, Any]]:
    path = folder / "new" / "trace.json"
    trace.write(path)
    records: list[dict[str, Any]] = json.loads(path.read_text())["traceEvents"]
    return records


def test_without_a_trace_nothing_is_noted() -> None:
    trace = make_trace()
    with span("forward"):
        Flight("all_reduce").land()
    assert trace.events == []


def test_spans_nest_and_end_also_on_an_error() -> None:
    with tracing(make_trace()) as trace:
        with pytest.raises(ValueError, match="wrong"), span("outer"), span("inner", "waiting"):
            raise ValueError("wrong")
        with span("next"):
            pass
    inner, outer, following = trace.events
    assert [event.name for event in trace.events] == ["inner", "outer", "next"]
    assert inner.category == "waiting"
    assert 0 <= outer.begin <= inner.begin <= inner.end <= outer.end <= following.begin


def test_flights_that_overlap_are_in_different_rows(tmp_path: Path) -> None:
    trace = make_trace()
    trace.add("own", "compute", 0, 9)
    for name, begin, end in (("a", 0, 4), ("b", 1, 2), ("c", 2, 5), ("d", 4, 6), ("e", 4.5, 5)):
        trace.add(name, "communication", begin, end, in_flight=True)
    records = written(trace, tmp_path)
    rows = {record["name"]: record["tid"] for record in records if record["ph"] == "X"}
    assert rows == {"own": 0, "a": 1, "b": 2, "c": 2, "d": 1, "e": 3}
    named = {r["tid"]: r["args"]["name"] for r in records if r["name"] == "thread_name"}
    assert named == {0: "compute", 1: "in flight 1", 2: "in flight 2", 3: "in flight 3"}


def test_times_are_microseconds(tmp_path: Path) -> None:
    trace = make_trace()
    trace.add("own", "compute", 0.5, 0.75)
    (record,) = [record for record in written(trace, tmp_path) if record["ph"] == "X"]
    assert (record["ts"], record["dur"], record["pid"]) == (500_000, 250_000, 0)
