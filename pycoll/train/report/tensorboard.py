"""Numbers of a run for TensorBoard."""

from __future__ import annotations

from pathlib import Path


class TensorBoard:
    """Write event files, by the tensorboardX package.

    Parameters
    ----------
    folder : Path
        ``tensorboard --logdir`` shows it.
    resumed_at : int
        Steps that the run had finished when it was resumed: an earlier run's later ones are hidden.

    Raises
    ------
    ImportError
        When tensorboardX is not installed.
    """

    def __init__(self, folder: Path, resumed_at: int) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "TensorBoard files need tensorboardX: pip install tensorboardX"
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=resumed_at + 1)

    def write(self, step: int, **numbers: float) -> None:
        """Write numbers under their names."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
