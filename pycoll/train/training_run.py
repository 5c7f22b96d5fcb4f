"""A whole run: resume, train, validate and save now and then, and report on rank 0."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from pycoll.train.data.unigram import unigram_loss
from pycoll.train.report.run_report import RunReport
from pycoll.train.report.sample import sample_text
from pycoll.train.report.trace import Trace, tracing
from pycoll.train.trainer import Trainer
from pycoll.train.verdict import AgreedError, agreed

CHECKPOINTS = "checkpoints"
TRACE = "trace.json"
# Until then buffers are allocated and plans made.
_STEPS_BEFORE_TRACE = 3


@dataclass(frozen=True)
class RunOptions:
    """What a run leaves behind, and when.

    Attributes
    ----------
    folder : Path
        For everything that the run writes; files of an earlier run are replaced.
    resume : Path, optional
        A checkpoint to continue from, or a folder of several: then the latest one.
    checkpoint_every, validate_every : int
        In steps; 0 means at the end only.
    sample_length : int
        Characters of the text that the trained model writes.
    trace_steps : int
        How many steps, from the fourth of the run on, to record a timeline of.
    tensorboard : bool
        Whether to write the numbers for TensorBoard, too.
    """

    folder: Path
    resume: Path | None = None
    checkpoint_every: int = 0
    validate_every: int = 0
    sample_length: int = 400
    trace_steps: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "validate_every", "sample_length", "trace_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative: {getattr(self, name)}")


def run(trainer: Trainer, options: RunOptions) -> float:
    """Train to the last step of the trainer's settings. Collective.

    Returns
    -------
    float
        The validation loss at the end, in nats per character.

    Raises
    ------
    RefusedError
        On all ranks, when the checkpoint cannot be resumed from or a file not be written.
    TrainingDivergedError
        On all ranks, when the loss is no longer a finite number.
    """
    comm, steps = trainer.comm, trainer.settings.steps
    changed = trainer.resume(options.resume) if options.resume else []
    report: RunReport | None = None
    with agreed(comm):
        if trainer.step >= steps:
            raise ValueError(
                f"{options.resume} has {trainer.step} steps behind it and the run has {steps}: "
                "nothing is left to train; ask for more steps"
            )
        if comm.rank == 0:
            for line in (_introduction(trainer), *changed):
                print(line, flush=True)
            report = RunReport(
                options.folder,
                steps,
                trainer.step,
                _unigram_loss(trainer),
                tensorboard=options.tensorboard,
            )
    checkpoints = options.folder / CHECKPOINTS
    with report or nullcontext(), _whole_checkpoint(trainer):
        traced = _traced_steps(trainer, options)
        trace: Trace | None = None
        while trainer.step < steps:
            if trainer.step in traced and trace is None:
                trace = Trace(comm)
            with tracing(trace) if trainer.step in traced and trace else nullcontext():
                done = trainer.train_step()
            if report:
                report.step(done)
            if done.step < steps and _due(done.step, options.validate_every):
                _validate(trainer, report)
            if done.step < steps and _due(done.step, options.checkpoint_every):
                trainer.agree()
                trainer.save(checkpoints)
        trainer.agree()
        trainer.save(checkpoints)
        validation = _validate(trainer, report)
        if trace is not None:
            trace.write(options.folder / TRACE)
        trainer.finish_saving()
        sample = ""
        if trainer.mesh.dp.rank == 0:  # one copy of the model writes
            sample = sample_text(
                trainer.next_scores,
                trainer.config.context,
                trainer.corpus.vocabulary,
                options.sample_length,
                seed=trainer.settings.seed,
            )
        with agreed(comm):
            if report:
                report.finish(validation, sample)
    return validation


@contextmanager
def _whole_checkpoint(trainer: Trainer) -> Iterator[None]:
    """Let the checkpoint that is being written become whole, also where all ranks give up."""
    try:
        yield
    except AgreedError:
        trainer.finish_saving()
        raise


def _traced_steps(trainer: Trainer, options: RunOptions) -> range:
    """Return the steps to trace, by the number of steps before them."""
    last = trainer.settings.steps
    first = max(trainer.step, min(trainer.step + _STEPS_BEFORE_TRACE, last - options.trace_steps))
    return range(first, min(first + options.trace_steps, last))


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _validate(trainer: Trainer, report: RunReport | None) -> float:
    loss = trainer.validate()
    if report:
        report.validation(trainer.step, loss)
    return loss


def _unigram_loss(trainer: Trainer) -> float:
    corpus = trainer.corpus
    return unigram_loss(corpus.training, corpus.validation, len(corpus.vocabulary))


def _introduction(trainer: Trainer) -> str:
    shape = trainer.mesh.shape
    is_split = shape.tp > 1 or shape.pp > 1
    spread = f", dp {shape.dp} x tp {shape.tp} x pp {shape.pp}," if is_split else ""
    corpus = trainer.corpus
    characters = len(corpus.training) + len(corpus.validation)
    return (
        f"{trainer.comm.size} rank(s){spread} train {trainer.parameters / 1e6:.2f} million "
        "parameters on "
        f"{characters} characters ({len(corpus.vocabulary)} different ones)"
    )
