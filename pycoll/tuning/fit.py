"""From times to the numbers of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np


def line_through(sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Return the time at size 0, and per byte, that fit best: in relative terms, none negative.

    Every size counts alike, the times of long messages not more than those of short ones.
    """
    x, y = np.asarray(sizes, float), np.asarray(seconds, float)
    columns = np.stack([1 / y, x / y], axis=1)
    (start, slope), *_ = np.linalg.lstsq(columns, np.ones_like(y), rcond=None)
    if start < 0:
        return 0.0, _only(columns[:, 1])
    if slope < 0:
        return _only(columns[:, 0]), 0.0
    return float(start), float(slope)


def _only(column: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return float(column.sum() / (column @ column))


def misleading(
    measured: Mapping[str, float],
    assumed: Mapping[str, float],
    slowness: Callable[[dict[str, float]], float],
) -> list[str]:
    """Return the names of measured costs that make worse choices than what is assumed else.

    A cost that was measured by itself may mislead where the model leaves something out.

    Parameters
    ----------
    measured, assumed : dict
        The second has a value for each name in the first.
    slowness : callable
        Of some costs, how many times as long as the best algorithms those take that are chosen by
        them.
    """
    # Half of what the mean over all calls differs by from run to run.
    noise = 1.005
    known: dict[tuple[float, ...], float] = {}

    def slowness_of(costs: dict[str, float]) -> float:
        key = tuple(costs.values())
        if key not in known:
            known[key] = slowness(costs)
        return known[key]

    best = min((dict(measured), {name: assumed[name] for name in measured}), key=slowness_of)
    for _ in range(2):  # what is better may depend on the others
        for name in measured:
            as_measured, as_assumed = best | {name: measured[name]}, best | {name: assumed[name]}
            better = min((as_measured, as_assumed), key=slowness_of)
            is_as_good = slowness_of(as_measured) <= noise * min(known.values())
            best = as_measured if is_as_good else better
    return [name for name in measured if best[name] != measured[name]]
