"""Train a small character-level GPT on all ranks: ``mpirun -n 8 python train.py``.

``python train.py --help`` lists the options.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

import pycoll
from pycoll.train import (
    AgreedError,
    GPTConfig,
    Parallelism,
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
from pycoll.train.ps import ASP, BSP, SSP, Consistency, EightBit, TopK
from pycoll.train.ps.gpt_run import run_with_servers

DESCRIPTION = """\
Train a small character-level GPT on all ranks of mpirun. By default every rank has the whole model
and works on its share of every batch; gradients are summed over all ranks while the backward pass
goes on. --tp splits weight matrices among ranks, --pp layers, and all can be combined. The course
of the training does not depend on the number of ranks and what they share (up to rounding), but for
--mode local-sgd and asynchronous parameter servers.

  mpirun -n 8 python train.py                        the Python language reference, 1 to 2 minutes
  mpirun -n 4 python train.py --data my.txt          a text of your own
  mpirun -n 8 python train.py --dp 2 --tp 2 --pp 2 --zero 1 --schedule 1f1b
  mpirun -n 5 python train.py --mode ps --servers 1 --staleness 4
  mpirun -n 4 python train.py --config run.toml      options from a file: steps = 200, ...
  mpirun -n 4 python train.py --resume runs/gpt/checkpoints --steps 2000
"""

# Best of a few values tried on the default text and model. Weight decays of the two do not compare:
# SGD adds them to the gradient.
LEARNING_RATE = {"adamw": 3e-3, "sgd": 0.1}
WEIGHT_DECAY = {"adamw": 0.1, "sgd": 0.0}

Value = TypeVar("Value")
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
    whole(files, "--trace", 0, "steps to record a timeline of, for ui.perfetto.dev")
    files.add_argument("--tensorboard", action="store_true", help="write the numbers there, too")

    course = parser.add_argument_group("training")
    whole(course, "--steps", 750, "length of the whole run, resumed steps included")
    whole(course, "--batch-size", 32, "sequences per step, over all ranks together")
    course.add_argument("--optimizer", choices=("adamw", "sgd"), default="adamw", help="algorithm")
    real(course, "--learning-rate", None, f"after the warm-up; {_by_optimizer(LEARNING_RATE)}")
    whole(course, "--warmup", 50, "steps in which the learning rate rises; then it falls")
    real(course, "--weight-decay", None, f"of matrices; {_by_optimizer(WEIGHT_DECAY)}")
    real(course, "--momentum", 0.9, "of sgd")
    real(course, "--clip-norm", None, "greatest norm of all gradients together; any if omitted")
    whole(course, "--seed", 0, "of the first weights, the batches and the sample")

    model = parser.add_argument_group("model")
    whole(model, "--context", 64, "characters that a prediction sees")
    whole(model, "--width", 128, "numbers per character in each layer; a multiple of --heads")
    whole(model, "--heads", 4, "attention heads per layer")
    whole(model, "--layers", 2, "transformer blocks")
    model.add_argument("--tied", action="store_true", help="first and last layer share weights")
    model.add_argument("--activation", choices=("gelu", "swiglu"), default="gelu", help="function")

    _add_parallelism(parser)
    _add_modes(parser)
    return parser


def _add_parallelism(parser: RankedParser) -> None:
    group = parser.add_argument_group("what ranks share")
    whole_or_none(group, "--dp", "copies of the model; as many as the ranks suffice for if omitted")
    whole(group, "--tp", 1, "ranks among which each weight matrix is split (tensor parallel)")
    whole(group, "--pp", 1, "stages among which the layers are shared out (pipeline parallel)")
    group.add_argument(
        "--sequence-parallel", action="store_true", help="ranks of --tp share out positions, too"
    )
    group.add_argument(
        "--schedule",
        choices=("1f1b", "gpipe", "interleaved"),
        default="1f1b",
        help="of the stages",
    )
    whole_or_none(group, "--chunks", "parts of the model per stage; 2 if interleaved, else 1")
    whole_or_none(
        group,
        "--micro-batches",
        "parts in which a copy works on its share of a batch; 4 per stage if omitted, 1 without",
    )
    group.add_argument(
        "--recompute", action="store_true", help="save only the inputs of blocks for backward"
    )
    whole(group, "--zero", 0, "1: each rank keeps its share of the optimizer's state only (ZeRO)")
    group.add_argument(
        "--precision",
        choices=("full", "bfloat16"),
        default="full",
        help="bfloat16: of weights, and of what goes between ranks; the optimizer stays in float32",
    )
    whole(group, "--bucket-bytes", 1 << 20, "pieces in which gradients are summed over ranks")
    group.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="cuda needs CuPy and a GPU"
    )


def _add_modes(parser: RankedParser) -> None:
    group = parser.add_argument_group("when ranks agree")
    group.add_argument(
        "--mode",
        choices=("sync", "local-sgd", "ps"),
        default="sync",
        help="sync: in every step; local-sgd: after some; ps: through parameter servers",
    )
    whole(group, "--local-steps", 20, "of a round of local-sgd")
    real(group, "--outer-learning-rate", 0.7, "of local-sgd, at the end of a round")
    real(group, "--outer-momentum", 0.9, "of local-sgd, Nesterov's (DiLoCo)")
    whole(group, "--servers", 1, "the last ranks, with ps; the others are workers")
    group.add_argument(
        "--consistency",
        choices=("bsp", "ssp", "asp"),
        help="of ps: synchronous, at most --staleness steps apart, asynchronous; bsp if omitted",
    )
    whole_or_none(group, "--staleness", "steps that a worker may be ahead; chooses ssp")
    group.add_argument(
        "--compress", choices=("none", "top-k", "8-bit"), default="none", help="what workers push"
    )


def whole_or_none(group: Group, flag: str, text: str) -> None:
    """Add an option that takes a whole number and has no fixed default."""
    group.add_argument(flag, type=int, metavar="N", help=text)


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
        settings = _settings(options)
        parallelism = Parallelism(
            dp=options.dp,
            tp=options.tp,
            pp=options.pp,
            sequence_parallel=options.sequence_parallel,
            schedule=options.schedule,
            chunks=_given_or(options.chunks, 2 if options.schedule == "interleaved" else 1),
            recompute=options.recompute,
        )
        run_options = RunOptions(
            folder=options.out,
            resume=options.resume,
            checkpoint_every=options.checkpoint_every,
            validate_every=options.validate_every,
            sample_length=options.sample_length,
            trace_steps=options.trace,
            tensorboard=options.tensorboard,
        )
        if options.mode == "ps":
            consistency = _consistency(options)
            if parallelism != Parallelism():
                raise ValueError("with --mode ps every worker has the whole model")
        elif options.consistency or options.staleness is not None or options.compress != "none":
            raise ValueError("--consistency, --staleness and --compress are for --mode ps")
    corpus = shared_corpus(comm, options.data, options.context)
    with agreed(comm):
        model = GPTConfig(
            vocabulary=len(corpus.vocabulary),
            context=options.context,
            width=options.width,
            heads=options.heads,
            layers=options.layers,
            tied=options.tied,
            activation=options.activation,
        )
    if options.mode == "ps":
        run_with_servers(
            comm,
            corpus,
            model,
            settings,
            run_options,
            servers=options.servers,
            consistency=consistency,
            compression={"none": None, "top-k": TopK(0.05), "8-bit": EightBit()}[options.compress],
            device=options.device,
        )
        return
    trainer = Trainer(comm, corpus, model, settings, parallelism, device=options.device)
    run(trainer, run_options)


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
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
        micro_batches=_given_or(options.micro_batches, 1 if options.pp == 1 else 4 * options.pp),
        max_norm=_given_or(options.clip_norm, math.inf),
        local_steps=options.local_steps if options.mode == "local-sgd" else 0,
        outer_learning_rate=options.outer_learning_rate,
        outer_momentum=options.outer_momentum,
        seed=options.seed,
    )


def _consistency(options: argparse.Namespace) -> Consistency:
    name = options.consistency or ("bsp" if options.staleness is None else "ssp")
    if name == "ssp":
        if options.staleness is None:
            raise ValueError("--consistency ssp needs --staleness")
        return SSP(options.staleness)
    if options.staleness is not None:
        raise ValueError(f"--staleness is for ssp, not for {name}")
    return BSP() if name == "bsp" else ASP()


def _given_or(value: Value | None, default: Value) -> Value:
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
