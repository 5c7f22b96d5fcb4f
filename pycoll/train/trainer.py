"""Data-parallel training of a language model: one step, validation, saving and resuming."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from pycoll.train.array_module import use_device
from pycoll.train.checkpoint.belonging import changed_settings
from pycoll.train.checkpoint.held import held_by
from pycoll.train.checkpoint.reader import load_checkpoint
from pycoll.train.checkpoint.writer import CheckpointWriter
from pycoll.train.data.batches import RandomBatches, Sequences, consecutive_windows
from pycoll.train.data.corpus import Corpus
from pycoll.train.data_parallel.data_parallel import DataParallel
from pycoll.train.data_parallel.wire import dtype_of
from pycoll.train.layers.cross_entropy import CrossEntropy
from pycoll.train.layers.initializer import Initializer
from pycoll.train.models.gpt import GPT, GPTConfig
from pycoll.train.settings import Settings
from pycoll.train.verdict import AgreedError, agreed

if TYPE_CHECKING:
    from pycoll import Communicator

# Sequences per forward pass of a validation: bounds its memory, not its result.
_VALIDATION_CHUNK = 32


class TrainingDivergedError(AgreedError):
    """The loss is no longer a finite number."""


@dataclass(frozen=True)
class StepReport:
    """What one training step did.

    Attributes
    ----------
    step : int
        Number of steps finished, this one included.
    loss : float
        Mean over the global batch before the update, in nats per token.
    tokens : int
        Predictions in the global batch.
    seconds, blocked_seconds : float
        Wall time of the step on this rank, and the part of it spent waiting for communication.
    """

    step: int
    loss: float
    learning_rate: float
    tokens: int
    seconds: float
    blocked_seconds: float


class Trainer:
    """A model, its optimizer and its text on one rank of a data-parallel run. Collective.

    The course of a run depends on its settings only, not on the number of ranks (up to the
    rounding of sums), since batches are drawn globally and losses and gradients are global sums.

    Parameters
    ----------
    comm : Communicator
    corpus : Corpus
        The same on all ranks.
    model : GPTConfig
    settings : Settings
    device : {"cpu", "cuda"}
        Where to compute. Gradients are reduced in host memory either way.

    Attributes
    ----------
    on_gradients : callable, optional
        Called with ``parallel`` in each step, between the end of the reduction and the optimizer:
        the place for clipping, which changes the gradients of ``parallel.parameters``.

    Raises
    ------
    RefusedError
        On all ranks, when one of them cannot use the device.
    """

    def __init__(
        self,
        comm: Communicator,
        corpus: Corpus,
        model: GPTConfig,
        settings: Settings,
        *,
        device: str = "cpu",
    ) -> None:
        with agreed(comm):
            use_device(device, comm.local_rank)
            dtype_of(settings.precision)  # which a rank's installation may lack
        self.comm = comm
        self.corpus = corpus
        self.settings = settings
        self.step = 0
        self.model = GPT(model, Initializer(settings.seed, device=device))
        self.criterion = CrossEntropy(self.model.xp)
        self.schedule = settings.make_schedule()
        self.batches = RandomBatches(
            corpus.training, model.context, settings.batch_size, settings.seed
        )
        self._validation = consecutive_windows(corpus.validation, model.context)
        self.parallel = DataParallel(
            self.model,
            comm,
            settings.bucket_bytes,
            zero=settings.zero,
            precision=settings.precision,
        )
        self.optimizer = settings.make_optimizer(self.parallel.parameters)
        self.on_gradients: Callable[[DataParallel], None] | None = None
        self._writer: CheckpointWriter | None = None

    def train_step(self) -> StepReport:
        """Make one step on the next global batch. Collective.

        Raises
        ------
        TrainingDivergedError
            On all ranks, when the loss is infinite or no number. The step is not made then.
        """
        started = perf_counter()
        blocked_before = self.parallel.blocked_seconds
        part = self.batches.part(self.step, self.comm.rank, self.comm.size)
        weight = 1 / self.batches.targets_per_step
        passes = self.settings.accumulation
        global_loss = np.zeros(1)
        with self.parallel.reducing(passes):
            for number in range(passes):
                loss, saved = self._forward(part.part(number, passes))
                global_loss += loss * weight
                if number == passes - 1:
                    # Reduced while the backward pass goes on, like the gradients.
                    loss_work = self.comm.all_reduce(global_loss, op="sum", async_op=True)
                saved_scores, saved_loss = saved
                self.model.backward(saved_scores, self.criterion.backward(saved_loss, weight))
        waiting = perf_counter()
        loss_work.wait()
        waited = perf_counter() - waiting
        if not np.isfinite(global_loss[0]):
            raise TrainingDivergedError(
                f"the loss became {global_loss[0]} in step {self.step + 1}; "
                "lower the learning rate or lengthen the warm-up"
            )
        learning_rate = self.schedule(self.step)
        if self.on_gradients is not None:
            self.on_gradients(self.parallel)
        self.parallel.step(self.optimizer, learning_rate)
        self.step += 1
        return StepReport(
            step=self.step,
            loss=float(global_loss[0]),
            learning_rate=learning_rate,
            tokens=self.batches.targets_per_step,
            seconds=perf_counter() - started,
            blocked_seconds=self.parallel.blocked_seconds - blocked_before + waited,
        )

    def validate(self) -> float:
        """Return the mean loss over the whole validation text, in nats per token. Collective."""
        part = self._validation.part(self.comm.rank, self.comm.size)
        total = np.zeros(1)
        for start in range(0, len(part.inputs), _VALIDATION_CHUNK):
            rows = slice(start, start + _VALIDATION_CHUNK)
            loss, _ = self._forward(Sequences(part.inputs[rows], part.targets[rows]))
            total += loss
        self.comm.all_reduce(total, op="sum")
        return float(total[0]) / self._validation.targets.size

    def save(self, root: Path) -> None:
        """Begin to write a checkpoint into a folder of checkpoints. Collective.

        It is written while the training goes on; `finish_saving` waits for it.

        Raises
        ------
        RefusedError
            On all ranks, when the checkpoint *before* could not be written.
        """
        if self._writer is None:
            self._writer = CheckpointWriter(self.comm)
        description = {"step": self.step, **self._identity(), "settings": self._settings()}
        self._writer.save(root, held_by(self.parallel.parameters, self.optimizer), description)

    def finish_saving(self) -> None:
        """Wait until the last checkpoint is on the disk. Collective.

        Raises
        ------
        RefusedError
            On all ranks, when it could not be written. The one before is as it was.
        """
        if self._writer is not None:
            self._writer.wait()

    def resume(self, path: Path) -> list[str]:
        """Continue from a checkpoint. Collective.

        It may come from any number of ranks, and from a run with another ``zero`` or ``precision``.
        With the same settings and number of ranks the run goes on bitwise as if it had not been
        interrupted: batches depend on seed and step only.

        Parameters
        ----------
        path : Path
            Of one checkpoint, or of the folder of several: then of the latest one.

        Returns
        -------
        list of str
            The settings, and the text, that differ from those of the checkpoint, one line each.

        Raises
        ------
        RefusedError
            On all ranks, when the checkpoint is unreadable, damaged, or of another model,
            vocabulary or optimizer. This trainer is then unchanged.
        """
        self.finish_saving()
        parallel = self.parallel
        held = held_by(parallel.parameters, self.optimizer)
        replicas = None if parallel.sharded else self.comm
        description = load_checkpoint(self.comm, path, held, self._identity(), replicas)
        parallel.spread()
        self.step = description["step"]
        return changed_settings(description, self._settings())

    def _forward(self, sequences: Sequences) -> tuple[float, Any]:
        xp = self.model.xp
        scores, saved_scores = self.model.forward(xp.asarray(sequences.inputs))
        loss, saved_loss = self.criterion.forward(scores, xp.asarray(sequences.targets))
        return loss, (saved_scores, saved_loss)

    def _settings(self) -> dict[str, Any]:
        return {**asdict(self.settings), "text": self.corpus.fingerprint}

    def _identity(self) -> dict[str, Any]:
        return {
            "model": asdict(self.model.config),
            "vocabulary": self.corpus.vocabulary.characters,
            "optimizer": self.settings.optimizer,
        }
