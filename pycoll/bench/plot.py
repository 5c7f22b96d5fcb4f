"""Draws time and bus bandwidth over size."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from pycoll.bench.environment import machine_line
from pycoll.bench.measurement import Measurement
from pycoll.bench.timing import Timing
from pycoll.planning.quantities import format_bytes

#: Distinct for most colour-blind readers (Okabe and Ito); the MPI library is black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F", "#8C564B")
MARKERS = "osD^vP<>"


@dataclass
class Curve:
    """One line of the picture."""

    label: str
    is_reference: bool
    sizes: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    busbw: list[float] = field(default_factory=list)

    def add(self, measurement: Measurement, timing: Timing) -> None:
        """Add a point."""
        self.sizes.append(measurement.size)
        self.seconds.append(timing.median)
        self.busbw.append(measurement.busbw_of(timing))


def plot(
    measurements: Sequence[Measurement], environment: dict[str, Any], path: str | Path
) -> None:
    """Draw measurements of one collective; pycoll and the other library, every algorithm a line."""
    other = environment["mpi"] if measurements[0].against == "mpi" else "NCCL"
    curves = _curves(measurements, other)
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5.4))
    for index, curve in enumerate(curves):
        style: dict[str, Any] = {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[index % len(MARKERS)],
            "markersize": 4.5,
            "linewidth": 1.8,
        }
        if curve.is_reference:
            style |= {"color": "black", "marker": "x", "linestyle": "--", "zorder": 3}
        left.plot(curve.sizes, [1e6 * s for s in curve.seconds], label=curve.label, **style)
        right.plot(curve.sizes, curve.busbw, label=curve.label, **style)
    left.set_ylabel("time (µs)")
    right.set_ylabel("bus bandwidth (GB/s)")
    for axes in (left, right):
        _scale(axes, sorted({measurement.size for measurement in measurements}))
    left.legend(frameon=False, fontsize=9)
    figure.suptitle(_title(measurements), fontsize=13)
    _sign(figure, environment)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _curves(measurements: Sequence[Measurement], other: str) -> list[Curve]:
    """Sort measurements into lines; labels name only what differs between them."""
    curves: dict[str, Curve] = {}

    def curve(label: str, *, is_reference: bool) -> Curve:
        return curves.setdefault(label, Curve(label, is_reference))

    distinguish = _differences(measurements)
    seen = set()
    for measurement in measurements:
        suffix = distinguish(measurement)
        # Auto's choices may differ from size to size: they are one line when only auto was asked.
        name = f"pycoll {_algorithm(measurement, measurements)}".strip()
        curve(name + suffix, is_reference=False).add(measurement, measurement.timing)
        point = (suffix, measurement.size)
        if measurement.reference is not None and point not in seen:
            seen.add(point)
            curve(other + suffix, is_reference=True).add(measurement, measurement.reference)
    return sorted(curves.values(), key=lambda curve: curve.is_reference)


def _algorithm(measurement: Measurement, measurements: Sequence[Measurement]) -> str:
    if measurement.choice is None or all(other.is_auto for other in measurements):
        return ""
    chunks = {
        other.choice.chunk_bytes
        for other in measurements
        if other.choice is not None
        and other.choice.algorithm == measurement.choice.algorithm
        and other.size == measurement.size
    }
    if len(chunks) < 2:
        return measurement.choice.algorithm
    return f"{measurement.choice.algorithm} / {format_bytes(measurement.choice.chunk_bytes)}"


def _differences(measurements: Sequence[Measurement]) -> Any:
    """Return a function from a measurement to what tells it from the others of its size."""
    fields = ("dtype", "op", "root", "memory", "in_place")
    varying = [
        name
        for name in fields
        if len({getattr(measurement.operation, name) for measurement in measurements}) > 1
    ]
    words = {"in_place": {True: "in place", False: "out of place"}}

    def suffix(measurement: Measurement) -> str:
        parts = []
        for name in varying:
            value = getattr(measurement.operation, name)
            parts.append(str(words.get(name, {}).get(value, value)))
        return f" ({', '.join(parts)})" if parts else ""

    return suffix


def _title(measurements: Sequence[Measurement]) -> str:
    operation = measurements[0].operation
    dtypes = {measurement.operation.dtype for measurement in measurements}
    ops = {measurement.operation.op for measurement in measurements}
    words = [operation.dtype] if len(dtypes) == 1 else []
    if len(ops) == 1 and operation.op is not None:
        words.append(operation.op)
    details = f" ({', '.join(words)})" if words else ""
    return f"{operation.collective}{details} on {measurements[0].ranks} ranks"


def _scale(axes: Any, sizes: Sequence[int]) -> None:
    axes.set_yscale("log")
    axes.set_xlabel("size")
    axes.set_xscale("log", base=2)
    every = -(-len(sizes) // 8)  # at most 8 labels are readable
    ticks = sizes[::every]
    axes.set_xticks(ticks, [format_bytes(size) for size in ticks])
    axes.minorticks_off()
    axes.grid(True, which="major", color="0.88")
    axes.spines[["top", "right"]].set_visible(False)


def _sign(figure: Any, environment: dict[str, Any]) -> None:
    """Say in small print where the figures come from."""
    text = f"{machine_line(environment)}, {environment['date'][:10]}\n{environment['command']}"
    lines = [piece for line in text.split("\n") for piece in textwrap.wrap(line, 170)]
    figure.tight_layout(rect=(0, 0.02 + 0.025 * len(lines), 1, 1))
    figure.text(0.01, 0.015, "\n".join(lines), fontsize=7.5, color="0.35", family="monospace")
