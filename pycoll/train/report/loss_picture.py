"""The course of the loss as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

Points = Sequence[tuple[int, float]]


def draw_losses(path: Path, training: Points, validation: Points, unigram: float) -> None:
    """Write a PNG with both losses over the steps, and the unigram model's as a line.

    Parameters
    ----------
    training, validation : sequence of (step, loss)
        Losses in nats per character.
    unigram : float
        See `unigram_loss`.
    """
    # Here, since it takes half a second of a core, which ranks that draw nothing should not spend.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.axhline(unigram, color="0.45", linestyle="--", linewidth=1.2)
    axes.annotate(
        f"unigram model {unigram:.2f}",
        (1, unigram),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 4),
        textcoords="offset points",
        ha="right",
        color="0.35",
    )
    if training:
        steps, losses = np.array(training).T
        axes.plot(steps, losses, color="tab:blue", alpha=0.25, linewidth=0.8)
        axes.plot(steps, _smoothed(losses), color="tab:blue", label="training")
    if validation:
        steps, losses = np.array(validation).T
        axes.plot(steps, losses, color="tab:orange", marker="o", markersize=4, label="validation")
        axes.annotate(
            f"{losses[-1]:.2f}",
            (steps[-1], losses[-1]),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            color="tab:orange",
        )
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per character)")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if training or validation:
        axes.legend(frameon=False, loc="lower left")
    figure.savefig(path)


def _smoothed(losses: np.ndarray, span: int = 20) -> np.ndarray:
    """Return the mean of each loss and those before it: up to ``span`` of them in all.

    At the start, where losses fall fast, it is a fifth of the losses so far.
    """
    sums = np.cumsum(np.concatenate([[0.0], losses]))
    ends = np.arange(1, len(losses) + 1)
    starts = ends - np.minimum(span, 1 + ends // 5)
    smoothed: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return smoothed
