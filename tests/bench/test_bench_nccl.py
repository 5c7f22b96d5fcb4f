"""NCCL's calls, as far as they can be seen without a GPU: a stand-in for its binding notes them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pycoll.bench.nccl import make_nccl
from pycoll.bench.operands import Operands, Operation
from pycoll.bench.option_error import OptionError

RANK, RANKS, COUNT, STREAM = 1, 3, 10, 77
FLOAT32, SUM = 7, 0


@dataclass
class OnDevice:
    """An array as CuPy shows where it lies."""

    start: int
    size: int
    itemsize: int = 4

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.start)

    def __getitem__(self, part: slice) -> OnDevice:
        return OnDevice(self.start + 4 * part.start, part.stop - part.start)


class Recorded:
    """Notes the calls of its functions."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, *arguments))


class Ranks:
    """What the ranks tell each other, of ranks that are all alike."""

    rank, size = RANK, RANKS

    def __init__(self, places: list[Any]) -> None:
        self.places = places

    def allgather(self, value: Any) -> list[Any]:
        return self.places

    def allreduce(self, value: Any, op: Any) -> Any:
        return value

    def bcast(self, value: Any) -> Any:
        return b"unique"


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    made = Recorded()
    cupy, nccl = ModuleType("cupy"), ModuleType("cupy.cuda.nccl")
    cupy.cuda = SimpleNamespace(  # type: ignore[attr-defined]
        get_current_stream=lambda: SimpleNamespace(ptr=STREAM)
    )
    vars(nccl).update(
        available=True,
        NCCL_FLOAT32=FLOAT32,
        NCCL_SUM=SUM,
        NcclCommunicator=lambda *arguments: made,
        groupStart=lambda: made.calls.append(("start",)),
        groupEnd=lambda: made.calls.append(("end",)),
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", nccl)
    return made


def operands(collective: str, *, in_place: bool, **changes: Any) -> tuple[Operation, Operands]:
    given: dict[str, Any] = {"dtype": "float32", "op": None, "root": None, **changes}
    operation = Operation(collective, memory="plain", count=COUNT, in_place=in_place, **given)
    starts = iter([1000, 5000])  # of the input, and of the output
    empty = lambda count, dtype: OnDevice(next(starts), count)  # noqa: E731
    return operation, Operands(operation, RANK, RANKS, None, empty)


def made_by(recorded: Recorded, collective: str, **changes: Any) -> list[tuple[Any, ...]]:
    nccl = make_nccl(
        Ranks([("host", n) for n in range(RANKS)]), SimpleNamespace(library="cupy", number=0)
    )  # type: ignore[arg-type]
    call = nccl.call(*operands(collective, in_place=changes.pop("in_place", False), **changes))
    assert call is not None
    call.run()
    return recorded.calls


BLOCK = 4 * COUNT


@pytest.mark.usefixtures("recorded")
def test_ranks_that_share_a_gpu_are_refused() -> None:
    shared = Ranks([("host", 0), ("host", 1), ("host", 0)])
    with pytest.raises(OptionError, match="a GPU for each rank; 3 ranks have 2"):
        make_nccl(shared, SimpleNamespace(library="cupy", number=0))  # type: ignore[arg-type]


def test_what_nccl_has_a_call_for(recorded: Recorded) -> None:
    folding: dict[str, Any] = {"op": "sum"}
    made_by(recorded, "all_reduce", **folding)
    made_by(recorded, "all_reduce", in_place=True, **folding)
    made_by(recorded, "reduce", root=2, **folding)  # this rank gets nothing
    made_by(recorded, "reduce_scatter", **folding)
    made_by(recorded, "reduce_scatter", in_place=True, **folding)
    made_by(recorded, "all_gather")
    made_by(recorded, "broadcast", root=0, in_place=True)
    assert recorded.calls == [
        ("allReduce", 1000, 5000, COUNT, FLOAT32, SUM, STREAM),
        ("allReduce", 5000, 5000, COUNT, FLOAT32, SUM, STREAM),
        ("reduce", 1000, 0, COUNT, FLOAT32, SUM, 2, STREAM),
        ("reduceScatter", 1000, 5000, COUNT, FLOAT32, SUM, STREAM),
        ("reduceScatter", 1000, 1000 + BLOCK * RANK, COUNT, FLOAT32, SUM, STREAM),
        ("allGather", 1000, 5000, COUNT, FLOAT32, STREAM),
        ("broadcast", 1000, 1000, COUNT, FLOAT32, 0, STREAM),
    ]


@pytest.mark.parametrize(
    ("collective", "root", "sent", "received"),
    [
        ("send_recv", None, [(1000, 2)], [(5000, 0)]),
        ("scatter", RANK, [(1000 + BLOCK * n, n) for n in range(RANKS)], [(5000, RANK)]),
        ("scatter", 0, [], [(1000, 0)]),
        ("gather", RANK, [(1000, RANK)], [(5000 + BLOCK * n, n) for n in range(RANKS)]),
        ("gather", 2, [(1000, 2)], []),
        (
            "all_to_all",
            None,
            [(1000 + BLOCK * n, n) for n in range(RANKS)],
            [(5000 + BLOCK * n, n) for n in range(RANKS)],
        ),
    ],
)
def test_what_is_made_of_messages(
    recorded: Recorded,
    collective: str,
    root: int | None,
    sent: list[tuple[int, int]],
    received: list[tuple[int, int]],
) -> None:
    sends = [("send", at, COUNT, FLOAT32, peer, STREAM) for at, peer in sent]
    receives = [("recv", at, COUNT, FLOAT32, peer, STREAM) for at, peer in received]
    assert made_by(recorded, collective, root=root) == [("start",), *sends, *receives, ("end",)]


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("collective", "changes"),
    [
        ("all_reduce", {"op": "band"}),
        ("all_reduce", {"op": "sum", "dtype": "int16"}),
        ("barrier", {}),
    ],
)
def test_what_nccl_cannot_is_left_out(collective: str, changes: dict[str, Any]) -> None:
    nccl = make_nccl(
        Ranks([("host", n) for n in range(RANKS)]), SimpleNamespace(library="cupy", number=0)
    )  # type: ignore[arg-type]
    assert nccl.call(*operands(collective, in_place=False, **changes)) is None


def test_events_take_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The events' milliseconds are seconds; on the host, there is no other clock."""
    from pycoll.bench.gpu_memory import EventClock
    from pycoll.bench.memory import HostClock

    event = SimpleNamespace(record=lambda: None, synchronize=lambda: None)
    library: Any = SimpleNamespace(event=lambda: event, milliseconds=lambda first, last: 1500.0)
    clock = EventClock(library)
    clock.start()
    assert clock.stop().device == 1.5
    host = HostClock()
    host.start()
    assert np.isnan(host.stop().device)
