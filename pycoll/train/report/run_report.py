"""All that rank 0 shows and writes about a run."""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from tqdm import tqdm

from pycoll.train.report.loss_picture import draw_losses
from pycoll.train.report.metrics_file import MetricsFile
from pycoll.train.report.tensorboard import TensorBoard
from pycoll.train.trainer import StepReport

# Steps over which the progress bar averages.
_RECENT = 20


class RunReport:
    """Progress bar, ``metrics.jsonl`` and, at the end, ``loss.png``, ``sample.txt`` and a summary.

    Used as a context manager, it closes the bar and the metrics file on an error too, so that the
    error's text starts on a line of its own.

    Parameters
    ----------
    folder : Path
        Made when it does not exist.
    steps : int
        Length of the whole run.
    resumed_at : int
        Steps that were finished before.
    unigram : float
        Loss of the unigram model, for comparison, in nats per character.
    tensorboard : bool
        Whether to write the numbers for TensorBoard, too.

    Raises
    ------
    OSError
        When the folder cannot be made or written to.
    ImportError
        When there is nothing installed that writes for TensorBoard.
    """

    def __init__(
        self,
        folder: Path,
        steps: int,
        resumed_at: int,
        unigram: float,
        *,
        tensorboard: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.unigram = unigram
        self._tensorboard = TensorBoard(folder / "tensorboard", resumed_at) if tensorboard else None
        self.metrics = MetricsFile(folder / "metrics.jsonl", resumed_at)
        self._recent: deque[StepReport] = deque(maxlen=_RECENT)
        self._tokens = 0
        self._seconds = 0.0
        self._blocked_seconds = 0.0
        # Under mpirun standard error is a pipe, hence the fixed width and calm refreshing.
        self._bar = tqdm(
            total=steps,
            initial=resumed_at,
            ncols=110,
            mininterval=0.5,
            file=sys.stderr,
            unit="step",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()
        self.metrics.close()
        if self._tensorboard:
            self._tensorboard.close()

    def step(self, report: StepReport) -> None:
        """Show and record one step."""
        norm = {} if report.gradient_norm is None else {"gradient_norm": report.gradient_norm}
        self._write(
            report.step,
            loss=report.loss,
            learning_rate=report.learning_rate,
            **norm,
            tokens_per_second=report.tokens / report.seconds,
            communication_share=report.blocked_seconds / report.seconds,
            seconds=report.seconds,
        )
        self._recent.append(report)
        self._tokens += report.tokens
        self._seconds += report.seconds
        self._blocked_seconds += report.blocked_seconds
        self._bar.set_postfix_str(self._progress(), refresh=False)
        self._bar.update()

    def validation(self, step: int, loss: float) -> None:
        """Record a validation loss."""
        self._write(step, validation_loss=loss)

    def finish(self, validation: float, sample: str) -> None:
        """Draw the losses, write the sample, and print how the run came out.

        Parameters
        ----------
        validation : float
            The last validation loss, in nats per character.
        sample : str
            Text that the model wrote.

        Raises
        ------
        OSError
            When a file cannot be written.
        """
        self._bar.close()
        lines = self.metrics.lines
        draw_losses(
            self.folder / "loss.png",
            [(line["step"], line["loss"]) for line in lines if "loss" in line],
            [
                (line["step"], line["validation_loss"])
                for line in lines
                if "validation_loss" in line
            ],
            self.unigram,
        )
        (self.folder / "sample.txt").write_text(sample + "\n", encoding="utf-8")
        rate = self._tokens / self._seconds
        print(
            f"\nvalidation loss {validation:.3f} nats per character: "
            f"{validation / self.unigram:.0%} of the unigram model's {self.unigram:.3f}\n"
            f"{self._seconds:.0f} s of training, {rate / 1000:.1f}k tokens/s, "
            f"{self._blocked_seconds / self._seconds:.0%} of the time waiting for communication\n"
            f"loss.png, metrics.jsonl, sample.txt and the checkpoints are in {self.folder}\n"
            f"\nThe model writes:\n{sample}",
            flush=True,
        )

    def _write(self, step: int, **numbers: float) -> None:
        self.metrics.write(step, **numbers)
        if self._tensorboard:
            self._tensorboard.write(step, **numbers)

    def _progress(self) -> str:
        seconds = sum(report.seconds for report in self._recent)
        rate = sum(report.tokens for report in self._recent) / seconds
        share = sum(report.blocked_seconds for report in self._recent) / seconds
        loss = self._recent[-1].loss
        return f"loss {loss:.3f}, {rate / 1000:.1f}k tokens/s, comm {share:.0%}"
