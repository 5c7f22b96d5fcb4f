"""Train a small character-level GPT on all ranks: ``mpirun -n 8 python train.py``.

``python train.py --help`` lists the options.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import pycoll
from pycoll.train import (
    AgreedError,
    GPTConfig,
    RankedParser,
    RunOptions,
    Settings,
    Trainer,
    abort_job_on_error,
    agreed,
    run,
    share_cores,
    shared_corpus,
)

DESCRIPTION = """\
Train a small character-level GPT, data-parallel on all ranks of mpirun: each rank works on its
share of every batch, and gradients are summed over all ranks while the backward pass goes on.
The course of the training does not depend on the number of ranks (up to rounding).

  mpirun -n 8 python train.py                        the Python language reference, 1 to 2 minutes
  mpirun -n 4 python train.py --data my.txt          a text of your own
  mpirun -n 4 python train.py --resume runs/gpt/checkpoints --steps 2000
"""

# Best of a few values tried on the default text and model. Weight decays of the two do not compare:
# SGD adds them to the gradient.
LEARNING_RATE = {"adamw": 3e-3, "sgd": 0.1}
WEIGHT_DECAY = {"adamw": 0.1, "sgd": 0.0}

Group: TypeAlias = argparse._ArgumentGroup  # argparse has no public name for it


def make_parser(comm: pycoll.Communicator) -> RankedParser:
    """Return the parser of the command line."""
    parser = RankedParser(comm, prog="train.py", description=DESCRIPTION)

    files = parser.add_argument_group("text and results")
    path(files, "--data", None, "UTF-8 text to train on; the Python language reference if omitted")
    path(files, "--out", Path("runs/gpt"), "folder for all that the run writes")
    path(
        files,
        "--resume",
        None,
        "checkpoint, or folder of several, of the same model to continue from",
    )
    whole(files, "--checkpoint-every", 0, "steps between checkpoints; 0: at the end only")
    whole(files, "--validate-every", 100, "steps between validations; 0: at the end only")
    whole(files, "--sample-length", 400, "characters that the trained model writes")

    course = parser.add_argument_group("training")
    whole(course, "--steps", 750, "length of the whole run, resumed steps included")
    whole(course, "--batch-size", 32, "sequences per step, over all ranks together")
    course.add_argument("--optimizer", choices=("adamw", "sgd"), default="adamw", help="algorithm")
    real(course, "--learning-rate", None, f"after the warm-up; {_by_optimizer(LEARNING_RATE)}")
    whole(course, "--warmup", 50, "steps in which the learning rate rises; then it falls")
    real(course, "--weight-decay", None, f"of matrices; {_by_optimizer(WEIGHT_DECAY)}")
    real(course, "--momentum", 0.9, "of sgd")
    whole(course, "--seed", 0, "of the first weights, the batches and the sample")

    model = parser.add_argument_group("model")
    whole(model, "--context", 64, "characters that a prediction sees")
    whole(model, "--width", 128, "numbers per character in each layer; a multiple of --heads")
    whole(model, "--heads", 4, "attention heads per layer")
    whole(model, "--layers", 2, "transformer blocks")
    model.add_argument("--tied", action="store_true", help="first and last layer share weights")

    machine = parser.add_argument_group("machine")
    whole(machine, "--bucket-bytes", 1 << 20, "pieces in which gradients are summed over ranks")
    whole(machine, "--zero", 0, "1: each rank keeps its share of the optimizer's state only (ZeRO)")
    machine.add_argument(
        "--precision",
        choices=("full", "bfloat16"),
        default="full",
        help="bfloat16: of weights, and of what goes between ranks; the optimizer stays in float32",
    )
    whole(machine, "--accumulation", 1, "parts in which a rank works on its share of a batch")
    machine.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="cuda needs CuPy and a GPU"
    )
    return parser


def path(group: Group, flag: str, default: Path | None, text: str) -> None:
    """Add an option that takes a path."""
    group.add_argument(flag, type=Path, metavar="PATH", default=default, help=text)


def whole(group: Group, flag: str, default: int, text: str) -> None:
    """Add an option that takes a whole number."""
    group.add_argument(flag, type=int, metavar="N", default=default, help=text)


def real(group: Group, flag: str, default: float | None, text: str) -> None:
    """Add an option that takes a number."""
    group.add_argument(flag, type=float, metavar="X", default=default, help=text)


def _by_optimizer(defaults: dict[str, float]) -> str:
    return ", ".join(f"{value} for {name}" for name, value in defaults.items()) + " if omitted"


def train(comm: pycoll.Communicator, options: argparse.Namespace) -> None:
    """Train as the options say. Collective."""
    share_cores(comm)
    with agreed(comm):
        settings = Settings(
            steps=options.steps,
            batch_size=options.batch_size,
            learning_rate=_given_or(options.learning_rate, LEARNING_RATE[options.optimizer]),
            warmup=options.warmup,
            optimizer=options.optimizer,
            weight_decay=_given_or(options.weight_decay, WEIGHT_DECAY[options.optimizer]),
            momentum=options.momentum,
            bucket_bytes=options.bucket_bytes,
            zero=options.zero,
            precision=options.precision,
            accumulation=options.accumulation,
            seed=options.seed,
        )
        run_options = RunOptions(
            folder=options.out,
            resume=options.resume,
            checkpoint_every=options.checkpoint_every,
            validate_every=options.validate_every,
            sample_length=options.sample_length,
        )
    corpus = shared_corpus(comm, options.data, options.context)
    with agreed(comm):
        model = GPTConfig(
            vocabulary=len(corpus.vocabulary),
            context=options.context,
            width=options.width,
            heads=options.heads,
            layers=options.layers,
            tied=options.tied,
        )
    run(Trainer(comm, corpus, model, settings, device=options.device), run_options)


def _given_or(value: float | None, default: float) -> float:
    return default if value is None else value


def main(arguments: Sequence[str] | None = None) -> None:
    """Run on every rank. All ranks end with an exit code other than 0 on an error."""
    comm = pycoll.world()
    parser = make_parser(comm)
    options = parser.parse(arguments)
    try:
        with abort_job_on_error(comm):
            train(comm, options)
    except AgreedError as error:
        parser.fail(error)


if __name__ == "__main__":
    main()
