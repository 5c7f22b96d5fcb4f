"""The table: the columns of nccl-tests, then those of the comparison, then the algorithm."""

from __future__ import annotations

from collections.abc import Sequence

from pycoll.bench.measurement import Measurement
from pycoll.bench.timing import Timing

_LEFT = (("size", 12), ("count", 12), ("type", 9), ("redop", 7), ("root", 6))
_LEFT_UNITS = ("(B)", "(elements)", "", "", "")
_GROUP = (("time", 11), ("algbw", 8), ("busbw", 8), ("#wrong", 7))
_GROUP_UNITS = ("(us)", "(GB/s)", "(GB/s)", "")
_DEVICE = (("GPU time", 11),)
_DEVICE_UNITS = ("(us)",)
_AGAINST_UNITS = ("(us)", "", "")
_PLACEMENT = {False: "out-of-place", True: "in-place"}


class Table:
    """Turns measurements into lines.

    Parameters
    ----------
    placements : sequence of bool
        The groups of columns: whether each is in place.
    against : {"mpi", "nccl"}, optional
        The library that there are columns for.
    on_gpu : bool
        Whether there is a column for the time by the GPU's clock.
    """

    def __init__(
        self, placements: Sequence[bool], *, against: str | None = None, on_gpu: bool = False
    ) -> None:
        self._placements = placements
        self._group: tuple[tuple[str, int], ...] = _GROUP
        self._units: tuple[str, ...] = _GROUP_UNITS
        if on_gpu:
            self._group += _DEVICE
            self._units += _DEVICE_UNITS
        if against is not None:
            self._group += ((against.upper(), 11), ("ratio", 7), ("quartiles", 11))
            self._units += _AGAINST_UNITS
        self._against = against
        self._on_gpu = on_gpu

    def header(self) -> list[str]:
        """Return the lines above the first."""
        widths = [width for _, width in self._group]
        titles = [_PLACEMENT[in_place].center(sum(widths)) for in_place in self._placements]
        left = [width for _, width in _LEFT]
        groups = len(self._placements)
        return [
            "#" + " " * (sum(left) - 1) + "".join(titles).rstrip(),
            "#"
            + _row([name for name, _ in _LEFT], left)[1:]
            + _row([name for name, _ in self._group] * groups, widths * groups)
            + "  algorithm",
            "#"
            + _row(_LEFT_UNITS, left)[1:]
            + _row(self._units * groups, widths * groups).rstrip(),
        ]

    def line(self, measurements: Sequence[Measurement]) -> str:
        """Return the line of one operation and algorithm, measured in one or both placements."""
        first = measurements[0]
        operation = first.operation
        cells = [
            str(first.size),
            str(operation.count),
            operation.dtype,
            operation.op or "none",
            str(-1 if operation.root is None else operation.root),
        ]
        text = _row(cells, [width for _, width in _LEFT])
        for measurement in measurements:
            text += _row(self._cells(measurement), [width for _, width in self._group])
        return f"{text}  {algorithm_label(first)}".rstrip()

    def _cells(self, measurement: Measurement) -> list[str]:
        cells = [
            _microseconds(measurement.timing),
            f"{measurement.algbw:.2f}",
            f"{measurement.busbw:.2f}",
            "N/A" if measurement.wrong is None else str(measurement.wrong),
        ]
        if self._on_gpu:
            cells.append(_in_microseconds(measurement.timing.device_median))
        if self._against is None:
            return cells
        ratio = measurement.ratio
        if measurement.reference is None or ratio is None:
            return [*cells, "N/A", "", ""]
        spread = f"{ratio.low:.2f}-{ratio.high:.2f}"
        return [*cells, _microseconds(measurement.reference), f"{ratio.median:.2f}", spread]


def algorithm_label(measurement: Measurement) -> str:
    """Return the algorithm with its chunk, whether auto chooses it, and in which memory."""
    choice = measurement.choice
    if choice is None:
        return ""
    chunk = f"/{_in_short(choice.chunk_bytes)}" if choice.chunk_bytes else ""
    remarks = ["auto"] if measurement.is_auto else []
    if measurement.operation.memory == "registered":
        remarks.append("registered")
    remark = f" ({', '.join(remarks)})" if remarks else ""
    return f"{choice.algorithm}{chunk}{remark}"


def summary(measurements: Sequence[Measurement]) -> list[str]:
    """Return the lines below the last."""
    checked = [measurement.wrong for measurement in measurements if measurement.wrong is not None]
    lines = []
    if checked:
        lines.append(f"# Wrong values: {sum(checked)} {'FAILED' if any(checked) else 'OK'}")
    mean = sum(measurement.busbw for measurement in measurements) / len(measurements)
    lines.append(f"# Average bus bandwidth: {mean:.3f} GB/s")
    wrong_there = sum(measurement.reference_wrong or 0 for measurement in measurements)
    if wrong_there:
        name = (measurements[0].against or "").upper()
        lines.append(f"# Wrong values of {name}: {wrong_there}; do not trust its times")
    return lines


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def _microseconds(timing: Timing) -> str:
    return _in_microseconds(timing.median)


def _in_microseconds(seconds: float) -> str:
    time = seconds * 1e6
    return f"{time:.2f}" if time < 1000 else f"{time:.1f}"


def _in_short(size: int) -> str:
    for unit, width in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if size and size % width == 0:
            return f"{size // width}{unit}"
    return str(size)
