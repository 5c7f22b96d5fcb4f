"""The comparison in Markdown."""

from __future__ import annotations

import math

from pycoll.planning.quantities import format_bytes

from .contestants import CONTESTANTS, Contestant
from .memcpy import least_seconds
from .results import Results
from .targets import tabulate_targets

MISSING = "-"


def tabulate(results: Results) -> str:
    """Return a table for each collective and number of ranks, and what is to be known of them."""
    parts = [_head(results)]
    for collective in results.collectives():
        for ranks in results.rank_counts(collective):
            title = f"### {collective}, {ranks} ranks"
            parts.append(f"{title}\n\n" + "\n".join(_table(results, collective, ranks)))
    targets = tabulate_targets(results)
    if targets:
        parts.append("### Targets: time of the best peer / pycoll's\n\n" + "\n".join(targets))
    notes = [f"{CONTESTANTS[name].label}: {why}" for name, why in results.left_out.items()]
    notes += results.problems
    if notes:
        parts.append(
            "Not measured, failed or wrong:\n\n" + "\n".join(f"- {note}" for note in notes)
        )
    return "\n\n".join(parts) + "\n"


def microseconds(seconds: float | None) -> str:
    """Return a time with three significant digits."""
    if seconds is None:
        return MISSING
    rounded = float(f"{1e6 * seconds:.3g}")
    decimals = max(0, 2 - math.floor(math.log10(rounded)))
    return f"{rounded:.{decimals}f}"


def _head(results: Results) -> str:
    versions = ", ".join(dict.fromkeys(results.versions.values()))
    text = (
        "Times in µs of one call on float32, in place where there is one array: the median over "
        "rounds, in which all took turns, of the median over batches, on the slowest rank. Bold: "
        f"the best peer. {versions}; {results.machine}, {results.date[:10]}. Made by "
        f"`{results.command}`."
    )
    if results.copy_bandwidths and "all_reduce" in results.collectives():
        text += (
            " Of the limit: what memcpy on all cores at once "
            f"({results.copy_bandwidth / 1e9:.1f} GB/s in arrays of 64 MiB) takes for ranks x size "
            "bytes, over pycoll's time; where that nears or exceeds 100%, data stay in the caches."
        )
    return text


def _table(results: Results, collective: str, ranks: int) -> list[str]:
    shown = [CONTESTANTS[name] for name in CONTESTANTS if name in results.versions]
    ours = [contestant for contestant in shown if not contestant.is_peer]
    has_peers = len(ours) < len(shown)
    with_limit = collective == "all_reduce" and results.copy_bandwidths
    header = ["size", *(contestant.label for contestant in shown)]
    header += [f"best peer / {_short(each)}" for each in ours if has_peers]
    header += [f"{_short(each)}, of the limit" for each in ours if with_limit]
    lines = [_row(header), f"|{'---:|' * len(header)}"]
    for size in results.sizes(collective, ranks):
        times = {each: results.seconds(collective, ranks, each.name, size) for each in shown}
        cells = [MISSING if collective == "barrier" else format_bytes(size)]
        best = results.best_peer(collective, ranks, size)
        cells += [_time(times[each], best if each.is_peer else None) for each in shown]
        if has_peers:
            cells += [_quotient(best, times[each], "{:.2f}") for each in ours]
        if with_limit:
            limit = least_seconds(size, ranks, results.copy_bandwidth)
            cells += [_quotient(limit, times[each], "{:.0%}") for each in ours]
        lines.append(_row(cells))
    return lines


def _short(contestant: Contestant) -> str:
    return contestant.label.removeprefix("pycoll ")


def _time(seconds: float | None, best: float | None) -> str:
    text = microseconds(seconds)
    return f"**{text}**" if seconds is not None and seconds == best else text


def _quotient(dividend: float | None, divisor: float | None, form: str) -> str:
    if dividend is None or divisor is None:
        return MISSING
    return form.format(dividend / divisor)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
