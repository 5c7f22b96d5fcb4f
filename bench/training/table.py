"""The comparison in Markdown."""

from __future__ import annotations

import statistics
from typing import TypeAlias

from .job import Report
from .modes import MODES, PEER

#: Reports by mode and number of ranks, one per round.
Runs: TypeAlias = dict[tuple[str, int], list[Report]]

PEER_LABEL = "PyTorch DDP, Gloo"


def tabulate(runs: Runs, tokens_per_step: int, head: str, problems: list[str]) -> str:
    """Return a row for each number of ranks, with the speed of each mode and what was hidden."""
    modes = [name for name in MODES if any(mode == name for mode, _ in runs)]
    has_peer = any(mode == PEER for mode, _ in runs)
    header = ["ranks", *(MODES[name].label for name in modes)]
    if has_peer:
        header += [PEER_LABEL, "data parallel / DDP"]
    header += ["all-reduce alone, ms", "hidden behind backward"]
    lines = [_row(header), f"|{'---:|' * len(header)}"]
    for ranks in sorted({ranks for _, ranks in runs}):
        speeds = {
            mode: tokens_per_step / _median(runs.get((mode, ranks), []), "seconds")
            for mode in [*modes, PEER]
            if runs.get((mode, ranks))
        }
        cells = [str(ranks), *(_thousands(speeds.get(mode)) for mode in modes)]
        if has_peer:
            cells.append(_thousands(speeds.get(PEER)))
            both = "dp" in speeds and PEER in speeds
            cells.append(f"{speeds['dp'] / speeds[PEER]:.2f}" if both else "-")
        cells += _hidden(runs.get(("dp", ranks), []))
        lines.append(_row(cells))
    text = head + "\n\n" + "\n".join(lines) + "\n"
    if problems:
        text += "\nNot measured, failed or different:\n\n"
        text += "\n".join(f"- {problem}" for problem in problems) + "\n"
    return text


def _hidden(reports: list[Report]) -> list[str]:
    shares = [report.hidden_share for report in reports if report.hidden_share is not None]
    if not shares:
        return ["-", "-"]
    alone = _median(reports, "all_reduce_seconds")
    return [f"{1e3 * alone:.2f}", f"{statistics.median(shares):.0%}"]


def _median(reports: list[Report], name: str) -> float:
    return float(statistics.median(getattr(report, name) for report in reports))


def _thousands(speed: float | None) -> str:
    return "-" if speed is None else f"{speed / 1000:.1f}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
