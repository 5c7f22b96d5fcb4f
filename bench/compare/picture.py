"""The comparison as pictures: time and bus bandwidth over size, a column for each rank count."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullLocator

from pycoll.bench.bandwidth import bus_bandwidth
from pycoll.planning.quantities import format_bytes, format_seconds

from .contestants import CONTESTANTS
from .memcpy import least_seconds
from .results import Results

#: Distinct for most colour-blind readers (Okabe and Ito), and by their markers without colour.
STYLES: dict[str, dict[str, Any]] = {
    "registered": {"color": "#0072B2", "marker": "o", "linewidth": 2.4, "zorder": 4},
    "pycoll": {"color": "#56B4E9", "marker": "s", "linewidth": 2.4, "zorder": 4},
    "private": {"color": "#56B4E9", "marker": "x", "linestyle": "--", "zorder": 4},
    "openmpi": {"color": "#D55E00", "marker": "D"},
    "mpich": {"color": "#009E73", "marker": "^"},
    "impi": {"color": "#CC79A7", "marker": "v"},
    "gloo": {"color": "#E69F00", "marker": "P"},
}
COLUMN_INCHES = 4.6
HEIGHT_INCHES = 8.6
#: Of the small print.
LETTERS_PER_INCH = 14.5


def draw(results: Results, collective: str, path: Path) -> None:
    """Draw one collective."""
    rank_counts = results.rank_counts(collective)
    width = max(2, len(rank_counts)) * COLUMN_INCHES
    figure, rows = plt.subplots(
        2,
        len(rank_counts),
        figsize=(width, HEIGHT_INCHES),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for ranks, upper, lower in zip(rank_counts, *rows, strict=True):
        _draw_column(results, collective, ranks, upper, lower)
    rows[0][0].set_ylabel("time of a call")
    rows[1][0].set_ylabel("bus bandwidth (GB/s)")
    _scale(rows[1][0], {size for ranks in rank_counts for size in results.sizes(collective, ranks)})
    rows[0][0].yaxis.set_major_formatter(lambda value, _: format_seconds(value))
    figure.suptitle(f"{collective} of float32, {results.machine}", fontsize=13)
    # Not everybody may have been measured on every number of ranks.
    legend = {
        label: handle
        for axes in rows[0]
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    small = textwrap.wrap(_small_print(results), int(width * LETTERS_PER_INCH))
    foot = (0.2 + 0.14 * len(small)) / HEIGHT_INCHES
    figure.tight_layout(rect=(0, foot, 1, 0.985))
    figure.legend(
        legend.values(),
        legend.keys(),
        loc="center",
        bbox_to_anchor=(0.5, 0.945),
        ncols=len(legend),
        frameon=False,
    )
    figure.text(0.01, 0.008, "\n".join(small), fontsize=7.5, color="0.35", family="monospace")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _draw_column(results: Results, collective: str, ranks: int, upper: Any, lower: Any) -> None:
    sizes = results.sizes(collective, ranks)
    for name, style in STYLES.items():
        points = [
            (size, seconds)
            for size in sizes
            if (seconds := results.seconds(collective, ranks, name, size)) is not None
        ]
        if not points:
            continue
        line = {"linewidth": 1.5, "markersize": 4.5, "label": CONTESTANTS[name].label} | style
        measured = [size for size, _ in points]
        upper.plot(measured, [seconds for _, seconds in points], **line)
        bandwidths = [bus_bandwidth(collective, size, seconds, ranks) for size, seconds in points]
        lower.plot(measured, bandwidths, **line)
    if collective == "all_reduce" and results.copy_bandwidths:
        _draw_limit(results, ranks, sizes, upper, lower)
    upper.set_title(f"{ranks} ranks")
    lower.set_xlabel("size")
    for axes in (upper, lower):
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.tick_params(labelleft=True, labelsize=9)
        axes.grid(True, which="major", color="0.9")
        axes.spines[["top", "right"]].set_visible(False)


def _draw_limit(results: Results, ranks: int, sizes: list[int], upper: Any, lower: Any) -> None:
    line = {"color": "0.35", "linewidth": 1.2, "linestyle": ":", "label": "limit of memcpy"}
    limits = [least_seconds(size, ranks, results.copy_bandwidth) for size in sizes]
    # Below, everything stays in caches, and the cost of a call counts: the limit means nothing.
    drawn = [(size, limit) for size, limit in zip(sizes, limits, strict=True) if size >= 64 << 10]
    upper.plot([size for size, _ in drawn], [limit for _, limit in drawn], **line)
    bandwidths = [bus_bandwidth("all_reduce", size, limit, ranks) for size, limit in drawn]
    lower.plot([size for size, _ in drawn], bandwidths, **line)


def _scale(axes: Any, sizes: set[int]) -> None:
    """Scale the axis of sizes, which all share."""
    axes.set_xscale("log", base=2)
    ordered = sorted(sizes, reverse=True)
    every = -(-len(ordered) // 8)  # at most 8 labels are readable
    ticks = ordered[::every]
    axes.set_xticks(ticks, [format_bytes(size) for size in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _small_print(results: Results) -> str:
    versions = ", ".join(dict.fromkeys(results.versions.values()))
    return f"{versions}; {results.date[:10]}. Made by: {results.command}"
