"""From times to the numbers of a model."""

from __future__ import annotations

from collections.abc import Sequence

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
