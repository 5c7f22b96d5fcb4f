"""A whole run: resume, train, validate and save now and then, and report on rank 0."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from pycoll.train.data.unigram import unigram_loss
from pycoll.train.report.run_report import RunReport
from pycoll.train.report.sample import sample_text
from pycoll.train.trainer import Trainer
from pycoll.train.verdict import AgreedError, agreed

CHECKPOINTS = "checkpoints"


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
    """

    folder: Path
    resume: Path | None = None
    checkpoint_every: int = 0
    validate_every: int = 0
    sample_length: int = 400

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "validate_every", "sample_length"):
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
            report = RunReport(options.folder, steps, trainer.step, _unigram_loss(trainer))
    checkpoints = options.folder / CHECKPOINTS
    with report or nullcontext(), _whole_checkpoint(trainer):
        while trainer.step < steps:
            done = trainer.train_step()
            if report:
                report.step(done)
            if done.step < steps and _due(done.step, options.validate_every):
                _validate(trainer, report)
            if done.step < steps and _due(done.step, options.checkpoint_every):
                trainer.save(checkpoints)
        trainer.save(checkpoints)
        validation = _validate(trainer, report)
        trainer.finish_saving()
        with agreed(comm):
            if report:
                sample = sample_text(
                    trainer.model,
                    trainer.corpus.vocabulary,
                    options.sample_length,
                    seed=trainer.settings.seed,
                )
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
    parameters = sum(parameter.data.size for _, parameter in trainer.model.named_parameters())
    corpus = trainer.corpus
    characters = len(corpus.training) + len(corpus.validation)
    return (
        f"{trainer.comm.size} rank(s) train {parameters / 1e6:.2f} million parameters on "
        f"{characters} characters ({len(corpus.vocabulary)} different ones)"
    )
