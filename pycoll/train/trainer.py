"""Training of a language model on a mesh of ranks: one step, validation, saving and resuming."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from pycoll.train.array_module import Array, array_module, as_numpy, use_device
from pycoll.train.checkpoint.belonging import changed_settings
from pycoll.train.checkpoint.held import held_by
from pycoll.train.checkpoint.reader import load_checkpoint
from pycoll.train.checkpoint.writer import CheckpointWriter
from pycoll.train.clipping import clip_gradients, counts
from pycoll.train.data.batches import VALIDATION_PIECE, RandomBatches, consecutive_windows
from pycoll.train.data.corpus import Corpus
from pycoll.train.data_parallel.data_parallel import DataParallel
from pycoll.train.data_parallel.wire import dtype_of
from pycoll.train.layers.cross_entropy import CrossEntropy
from pycoll.train.layers.initializer import Initializer
from pycoll.train.local_sgd.local_sgd import LocalSGD
from pycoll.train.mesh import Mesh
from pycoll.train.mesh_shape import MeshShape
from pycoll.train.models.gpt import GPT, GPTConfig
from pycoll.train.parallelism import Parallelism
from pycoll.train.pipeline_parallel.last_scores import LastScores
from pycoll.train.pipeline_parallel.pipeline import Pipeline
from pycoll.train.report.trace import span
from pycoll.train.settings import Settings
from pycoll.train.tensor_parallel.tensor_group import TensorGroup
from pycoll.train.verdict import AgreedError, agreed, require_same

if TYPE_CHECKING:
    from pycoll import Communicator


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
    gradient_norm : float or None
        Over all parameters, before it was limited; None where it is not.
    """

    step: int
    loss: float
    learning_rate: float
    tokens: int
    seconds: float
    blocked_seconds: float
    gradient_norm: float | None = None


class Trainer:
    """A model, its optimizer and its text on one rank of a run. Collective.

    The course of a run depends on its settings only, not on the number of ranks and what they share
    (up to the rounding of sums), since batches are drawn globally and losses and gradients are
    global sums. But with ``local_steps`` the number of copies counts.

    Parameters
    ----------
    comm : Communicator
    corpus : Corpus
        The same on all ranks.
    model : GPTConfig
    settings : Settings
    parallelism : Parallelism
        By default every rank has the whole model.
    device : {"cpu", "cuda"}
        Where to compute, and where what is sent and received lies.

    Attributes
    ----------
    mesh : Mesh
    pipeline : Pipeline
        The layers of this rank: with one stage, all of them.
    parallel : DataParallel
    parameters : int
        Of the whole model: how many numbers are trained.

    Raises
    ------
    RefusedError
        On all ranks, when one of them cannot use the device, when they differ in corpus, model,
        settings or parallelism, or when the model or the batches cannot be shared out so.
    """

    def __init__(
        self,
        comm: Communicator,
        corpus: Corpus,
        model: GPTConfig,
        settings: Settings,
        parallelism: Parallelism | None = None,
        *,
        device: str = "cpu",
    ) -> None:
        self.parallelism = Parallelism() if parallelism is None else parallelism
        with agreed(comm):
            use_device(device, comm.local_rank)
            dtype_of(settings.precision, device)  # which a rank's installation may lack
            shape = self.parallelism.shape(comm.size)
            _require_work_for_all(settings, shape)
            text = corpus.fingerprint
        require_same(
            comm, {**asdict(settings), **asdict(model), **asdict(self.parallelism), "text": text}
        )
        self.comm = comm
        self.corpus = corpus
        self.settings = settings
        self.config = model
        self.step = 0
        self.mesh = Mesh(comm, dp=shape.dp, tp=shape.tp, pp=shape.pp)
        self.xp = array_module(device)
        self.tensor = TensorGroup(
            self.mesh.tp, sequence_parallel=self.parallelism.sequence_parallel
        )
        self.pipeline = self._make_pipeline(device)
        self.schedule = settings.make_schedule()
        self.batches = RandomBatches(
            corpus.training, model.context, settings.batch_size, settings.seed
        )
        self._validation = consecutive_windows(corpus.validation, model.context)
        named = self.pipeline.named_parameters()
        reducing = self.mesh.dp
        if settings.local_steps:
            alone = self.mesh.dp.split(self.mesh.dp.rank)
            assert alone is not None  # only a rank without a color is in no communicator
            reducing = alone
        self.parallel = DataParallel(
            named,
            reducing,
            settings.bucket_bytes,
            zero=settings.zero,
            precision=settings.precision,
        )
        self.local: LocalSGD | None = None
        if settings.local_steps:
            self.local = LocalSGD(
                self.parallel.parameters,
                self.mesh.dp,
                settings.local_steps,
                outer_learning_rate=settings.outer_learning_rate,
                outer_momentum=settings.outer_momentum,
            )
            self.parallel.spread()
        self.optimizer = settings.make_optimizer(self.parallel.parameters)
        self.parameters = self._count_parameters()
        self._blocked_seconds = 0.0
        self._writer: CheckpointWriter | None = None

    def train_step(self) -> StepReport:
        """Make one step on the next global batch. Collective.

        Raises
        ------
        TrainingDivergedError
            On all ranks, when the loss is infinite or no number. The step is not made then.
        """
        started, blocked_before = perf_counter(), self.blocked_seconds
        part = self.batches.part(self.step, self.mesh.dp.rank, self.mesh.dp.size)
        # For the mean over what is added up: the global batch, or this copy's part of it.
        weight = 1 / (part.targets.size if self.local else self.batches.targets_per_step)
        with self.parallel.reducing(self.settings.micro_batches):
            loss = self.pipeline.forward_backward(
                self.xp.asarray(part.inputs), self.xp.asarray(part.targets), weight
            )
        loss = self._sum(loss) / self.batches.targets_per_step
        if not np.isfinite(loss):
            raise TrainingDivergedError(
                f"the loss became {loss} in step {self.step + 1}; "
                "lower the learning rate or lengthen the warm-up"
            )
        norm = None
        if self.settings.max_norm < math.inf:
            parallel = self.parallel
            norm = clip_gradients(
                parallel.parameters, self.settings.max_norm, self.mesh, counted=parallel.counted
            )
        learning_rate = self.schedule(self.step)
        with span("optimizer"):
            self.parallel.step(self.optimizer, learning_rate)
        if self.local is not None and self.local.end_step():
            self.parallel.spread()
        self.step += 1
        return StepReport(
            step=self.step,
            loss=loss,
            learning_rate=learning_rate,
            gradient_norm=norm,
            tokens=self.batches.targets_per_step,
            seconds=perf_counter() - started,
            blocked_seconds=self.blocked_seconds - blocked_before,
        )

    @property
    def blocked_seconds(self) -> float:
        """Time spent waiting for other ranks since the object was made, in seconds."""
        return (
            self.parallel.blocked_seconds
            + self.pipeline.blocked_seconds
            + self.tensor.blocked_seconds
            + (self.local.blocked_seconds if self.local else 0.0)
            + self._blocked_seconds
        )

    def agree(self) -> None:
        """Make all copies of the model the same, where they train by themselves. Collective."""
        if self.local is not None:
            self.local.synchronize()
            self.parallel.spread()

    def validate(self) -> float:
        """Return the mean loss over the whole validation text, in nats per token. Collective."""
        part = self._validation.part(self.mesh.dp.rank, self.mesh.dp.size)
        total = 0.0
        for piece in part.in_pieces(VALIDATION_PIECE):
            inputs, targets = self.xp.asarray(piece.inputs), self.xp.asarray(piece.targets)
            total += self.pipeline.evaluate(inputs, targets)
        return self._sum(total) / self._validation.targets.size

    def next_scores(self, tokens: Array) -> Array:
        """Return the scores of what follows the tokens. Collective over one copy of the model.

        Parameters
        ----------
        tokens : Array, shape (batch, length)
            In host memory, the same on all ranks; ``length`` is at most the context.

        Returns
        -------
        Array, shape (batch, vocabulary)
            In host memory, the same on all ranks.
        """
        length = tokens.shape[1]
        padded = self.xp.asarray(np.pad(tokens, ((0, 0), (0, self.tensor.padding(length)))))
        last = LastScores(length)
        self.pipeline.evaluate(padded, padded, last)
        scores = np.zeros((len(tokens), self.config.vocabulary), np.float32)
        if last.scores:
            own = self.xp.concatenate(last.scores)
            scores[...] = as_numpy(self.tensor.gather_last_axis(own, self.config.vocabulary))
        self.mesh.pp.broadcast(scores, root=self.mesh.pp.size - 1)
        return scores

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
        interrupted: batches depend on seed and step only. Not so copies that train by themselves:
        all go on with the state of the first one's optimizer, and without outer momentum.

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
        replicas = None if parallel.sharded else self.mesh.dp
        description = load_checkpoint(self.comm, path, held, self._identity(), replicas)
        if self.local is not None:
            self.local.restart()
        parallel.spread()
        self.step = description["step"]
        return changed_settings(description, self._settings())

    def _make_pipeline(self, device: str) -> Pipeline:
        config, parallelism, settings = self.config, self.parallelism, self.settings
        initializer = Initializer(settings.seed, device=device)

        def make_part(part: range) -> GPT:
            return GPT(config, initializer, self.tensor, part=part, recompute=parallelism.recompute)

        with agreed(self.comm):
            criterion = CrossEntropy(self.xp, self.tensor, classes=config.vocabulary)
        return Pipeline(
            make_part,
            len(GPT.layer_names(config)),
            self.mesh.pp,
            criterion,
            micro_batches=settings.micro_batches,
            schedule=parallelism.schedule,
            chunks=parallelism.chunks,
        )

    def _count_parameters(self) -> int:
        # Copies that train by themselves each count all that they have.
        once = self.local is None or self.mesh.dp.rank == 0
        counted = self.parallel.counted if once else []
        own = [p for _, p in counted if counts(p, self.mesh.tp.rank)]
        total = np.array([sum(parameter.data.size for parameter in own)])
        self.comm.all_reduce(total, op="sum")
        return int(total[0])

    def _sum(self, loss: float) -> float:
        """Return the sum over all ranks, of which those of a tensor group have the same loss."""
        total = np.array([loss if self.mesh.tp.rank == 0 else 0.0])
        started = perf_counter()
        with span("wait for the loss", "waiting"):
            self.comm.all_reduce(total, op="sum")
        self._blocked_seconds += perf_counter() - started
        return float(total[0])

    def _settings(self) -> dict[str, Any]:
        settings = {**asdict(self.settings), "text": self.corpus.fingerprint}
        # JSON has no infinity, and others than Python read manifests, too.
        return {name: None if value == math.inf else value for name, value in settings.items()}

    def _identity(self) -> dict[str, Any]:
        return {
            "model": asdict(self.config),
            "vocabulary": self.corpus.vocabulary.characters,
            "optimizer": self.settings.optimizer,
        }


def _require_work_for_all(settings: Settings, shape: MeshShape) -> None:
    if settings.local_steps and settings.batch_size < shape.dp:
        raise ValueError(
            f"a batch of {settings.batch_size} sequences leaves some of the dp {shape.dp} copies "
            "without any to train on by themselves; choose a larger batch"
        )
    pieces = shape.dp * settings.micro_batches
    if settings.micro_batches > 1 and settings.batch_size < pieces:
        raise ValueError(
            f"a batch of {settings.batch_size} sequences cannot be cut into {pieces} pieces, for "
            f"dp {shape.dp} x {settings.micro_batches} micro-batches; choose a larger batch or "
            "fewer micro-batches"
        )
