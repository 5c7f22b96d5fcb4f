"""Compares pycoll's all_reduce with that of the MPI library, and draws and tabulates it.

    python bench/auto_vs_mpi.py

runs under the MPI of the environment it is started in, at 2, 4 and 8 ranks, and writes
docs/figures/all_reduce_vs_<mpi>.png, .md and .json. It takes some three minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from pycoll.planning.quantities import format_bytes

ROOT = Path(__file__).resolve().parent.parent

# Open MPI refuses to run as root, and more ranks than cores, unless it is told to; see Makefile.
LAUNCH = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
}
#: What pycoll promises: never slower than this times the MPI library, from this size on.
PROMISE = 1.2
PROMISED_FROM = 64 << 10

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = "osD^vP"

Report = dict[str, Any]


def measure(ranks: int, options: argparse.Namespace) -> Report:
    """Run the benchmark under mpirun and return what it writes as JSON."""
    beside = Path(sys.executable).parent / "mpirun"
    mpirun = str(beside) if beside.exists() else shutil.which("mpirun")
    if mpirun is None:
        sys.exit("there is no mpirun beside the interpreter or on PATH")
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        bench = ["-m", "pycoll.bench", "all_reduce", "-b", options.minbytes, "-e", options.maxbytes]
        bench += ["-f", options.stepfactor, "--against", "mpi", "--seconds", str(options.seconds)]
        command = [mpirun, "-n", str(ranks), sys.executable, *bench, "--json", str(results)]
        subprocess.run(command, env={**os.environ, **LAUNCH}, check=True)
        report: Report = json.loads(results.read_text())
        return report


def draw(reports: list[Report], command: str, path: Path) -> None:
    """Draw the times of both, and their ratio, over size."""
    environment = reports[0]["environment"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5.4))
    for report, colour, marker in zip(reports, COLOURS, MARKERS, strict=False):
        ranks, results = report["environment"]["ranks"], report["results"]
        sizes = [record["size"] for record in results]
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4}
        left.plot(
            sizes, [record["time"] for record in results], label=f"pycoll, {ranks} ranks", **style
        )
        left.plot(
            sizes,
            [record["mpi"]["time"] for record in results],
            label=f"{environment['mpi']}, {ranks} ranks",
            **(style | {"linestyle": "--", "markerfacecolor": "white", "alpha": 0.75}),
        )
        ratios = [record["ratio"] for record in results]
        right.plot(sizes, [r["median"] for r in ratios], label=f"{ranks} ranks", **style)
        low, high = ([r[end] for r in ratios] for end in ("low", "high"))
        right.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
    right.axhline(1, color="black", linewidth=1)
    right.axhline(PROMISE, color="0.4", linewidth=1, linestyle=":")
    left.set_yscale("log")
    left.set_ylabel("time (µs)")
    right.set_yscale("log", base=2)
    right.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    right.set_ylabel(f"time of pycoll / time of {environment['mpi']}")
    for axes in (left, right):
        sizes = [record["size"] for record in reports[0]["results"]]
        axes.set_xscale("log", base=2)
        ticks = sizes[:: -(-len(sizes) // 8)]
        axes.set_xticks(ticks, [format_bytes(size) for size in ticks])
        axes.minorticks_off()
        axes.set_xlabel("size")
        axes.grid(True, which="major", color="0.88")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
    figure.suptitle(f"all_reduce, float32 sum, in place: pycoll and {environment['mpi']}")
    lines = textwrap.wrap(
        f"{environment['cores']} cores ({environment['processor']}), one node, "
        f"{environment['date'][:10]}. Right: below 1 pycoll is faster; bands: quartiles; "
        f"dotted: {PROMISE}. Made by: {command}",
        150,
    )
    figure.tight_layout(rect=(0, 0.02 + 0.025 * len(lines), 1, 1))
    figure.text(0.01, 0.015, "\n".join(lines), fontsize=7.5, color="0.35", family="monospace")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def tabulate(reports: list[Report], command: str) -> str:
    """Return Markdown tables: one for each number of ranks, a row for each size."""
    environment = reports[0]["environment"]
    mpi = environment["mpi"]
    lines = [
        f"all_reduce, float32 sum, in place. pycoll {environment['pycoll']} over "
        f"{environment['transport']}, {mpi}; {environment['cores']} cores "
        f"({environment['processor']}), {environment['date'][:10]}. Made by `{command}`. Ratio: "
        "median (quartiles) over rounds of pycoll's time over the MPI library's.",
    ]
    for report in reports:
        header = f"| {report['environment']['ranks']} ranks | pycoll (µs) | {mpi} (µs) "
        lines += ["", header + "| ratio | algorithm |", "|---:|---:|---:|---:|---|"]
        for record in report["results"]:
            chunk = record["chunk_bytes"]
            in_chunks = f" / {format_bytes(chunk)}" if chunk else ""
            ratio = record["ratio"]
            lines.append(
                f"| {format_bytes(record['size'])} "
                f"| {_rounded(record['time'])} | {_rounded(record['mpi']['time'])} "
                f"| **{ratio['median']:.2f}** ({ratio['low']:.2f}-{ratio['high']:.2f}) "
                f"| {record['algorithm']}{in_chunks} |"
            )
    return "\n".join([*lines, ""])


def _rounded(microseconds: float) -> str:
    return f"{microseconds:.0f}" if microseconds >= 100 else f"{microseconds:.3g}"


def broken_promises(reports: list[Report]) -> list[str]:
    """Return a line for each size at which pycoll is slower than it promises to be."""
    return [
        f"{report['environment']['ranks']} ranks, {format_bytes(record['size'])}: "
        f"{record['ratio']['median']:.2f} times the MPI library's time"
        for report in reports
        for record in report["results"]
        if record["size"] >= PROMISED_FROM and record["ratio"]["median"] > PROMISE
    ]


def main() -> None:
    """Measure, draw and tabulate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--ranks", default="2,4,8", help="numbers of ranks (2,4,8)")
    parser.add_argument("--minbytes", default="8")
    parser.add_argument("--maxbytes", default="64M")
    parser.add_argument("--stepfactor", default="2")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each size (1)")
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "figures")
    options = parser.parse_args()

    reports = [measure(int(ranks), options) for ranks in options.ranks.split(",")]
    command = " ".join(["python bench/auto_vs_mpi.py", *sys.argv[1:]])
    family = reports[0]["environment"]["mpi"].rpartition(" ")[0].lower().replace(" ", "")
    options.folder.mkdir(parents=True, exist_ok=True)
    stem = options.folder / f"all_reduce_vs_{family}"
    draw(reports, command, stem.with_suffix(".png"))
    stem.with_suffix(".md").write_text(tabulate(reports, command))
    stem.with_suffix(".json").write_text(json.dumps(reports, indent=1) + "\n")
    print(*broken_promises(reports), f"written: {stem}.png, .md, .json", sep="\n")


if __name__ == "__main__":
    main()
