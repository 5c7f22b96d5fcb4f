"""A whole run of a language model with a parameter server, as `pycoll.train.run` makes others."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import asdict
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from pycoll.train.array_module import as_numpy, use_device
from pycoll.train.checkpoint.held import Held
from pycoll.train.checkpoint.place import Place
from pycoll.train.checkpoint.writer import CheckpointWriter
from pycoll.train.data.batches import VALIDATION_PIECE, RandomBatches, consecutive_windows
from pycoll.train.data.corpus import Corpus
from pycoll.train.data.unigram import unigram_loss
from pycoll.train.layers.initializer import Initializer
from pycoll.train.models.gpt import GPT, GPTConfig
from pycoll.train.ps.compression import Compression
from pycoll.train.ps.consistency import Consistency
from pycoll.train.ps.parameter_server import ParameterServer
from pycoll.train.ps.worker import Worker
from pycoll.train.report.run_report import RunReport
from pycoll.train.report.sample import sample_text
from pycoll.train.settings import Settings
from pycoll.train.trainer import StepReport, TrainingDivergedError
from pycoll.train.training_run import CHECKPOINTS, RunOptions
from pycoll.train.verdict import agreed, gather_texts

if TYPE_CHECKING:
    from pycoll import Communicator


def run_with_servers(
    comm: Communicator,
    corpus: Corpus,
    config: GPTConfig,
    settings: Settings,
    options: RunOptions,
    *,
    servers: int,
    consistency: Consistency,
    compression: Compression | None = None,
    device: str = "cpu",
) -> float:
    """Train with some ranks as parameter servers, the last ones, and the others as workers.

    Collective. Each worker makes ``settings.steps`` steps, on its share of every batch. The
    progress and the losses shown are those of rank 0. The checkpoint at the end holds the
    parameters only.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Where the workers compute. Servers keep and update the parameters in host memory, and what
        goes between them and the workers is copied there.

    Returns
    -------
    float
        The validation loss at the end, in nats per character.

    Raises
    ------
    RefusedError
        On all ranks, for options that make no sense, or when a file cannot be written.
    RankLostError
        When another rank was lost.
    TrainingDivergedError
        On all ranks, when the loss of a worker is no longer a finite number.
    """
    with agreed(comm):
        _require_possible(settings, options)
        _require_work_for_all(settings, comm.size - servers)
        serves = comm.rank >= comm.size - servers
        if not serves:
            use_device(device, comm.local_rank)
    model = GPT(config, Initializer(settings.seed, device="cpu" if serves else device))
    server = ParameterServer(
        model,
        comm,
        settings.make_optimizer,
        servers=servers,
        learning_rate=settings.make_schedule(),
        consistency=consistency,
        compression=compression,
        bucket_bytes=settings.bucket_bytes,
    )
    group = comm.split(int(server.is_server))
    assert group is not None  # only a rank without a color is in no communicator
    report: RunReport | None = None
    with agreed(comm):
        if comm.rank == 0:
            unigram = unigram_loss(corpus.training, corpus.validation, len(corpus.vocabulary))
            print(_introduction(server, model, corpus, consistency), flush=True)
            report = RunReport(
                options.folder, settings.steps, 0, unigram, tensorboard=options.tensorboard
            )
    with report or nullcontext():
        histogram = divergence = ""
        if server.is_server:
            histogram = str(server.serve())
        else:
            with server.working() as worker:
                divergence = _work(worker, group, corpus, model, settings, report)
        for text in gather_texts(comm, divergence):
            if text:
                raise TrainingDivergedError(text)
        validation = np.zeros(1)
        if not server.is_server:
            validation[0] = _validate(group, corpus, model)
        comm.broadcast(validation, root=0)
        if report:
            report.validation(settings.steps, float(validation[0]))
        _save(comm, model, corpus, settings, options)
        histograms = gather_texts(comm, histogram)
        with agreed(comm):
            if report:
                sample = sample_text(
                    lambda tokens: as_numpy(model.next_scores(model.xp.asarray(tokens))),
                    config.context,
                    corpus.vocabulary,
                    options.sample_length,
                    seed=settings.seed,
                )
                report.finish(float(validation[0]), sample)
                for rank in server.servers:
                    print(f"\nserver {rank}: {histograms[rank]}", flush=True)
    return float(validation[0])


def _work(
    worker: Worker,
    workers: Communicator,
    corpus: Corpus,
    model: GPT,
    settings: Settings,
    report: RunReport | None,
) -> str:
    """Make all steps; return why they ended before, if they did.

    A worker whose loss is no number says that it has finished: the others are not left waiting, and
    get numbers like that by its gradients.
    """
    batches = RandomBatches(
        corpus.training, model.config.context, settings.batch_size, settings.seed
    )
    criterion, schedule = model.criterion(), settings.make_schedule()
    weight = 1 / batches.targets_per_step
    for step in range(settings.steps):
        started, blocked_before = perf_counter(), worker.blocked_seconds
        part = batches.part(step, workers.rank, workers.size)
        pieces = [part.part(n, settings.micro_batches) for n in range(settings.micro_batches)]
        total = 0.0
        with worker.pushing(len(pieces)):
            for piece in pieces:
                scores, saved = model.forward(model.xp.asarray(piece.inputs))
                loss, saved_loss = criterion.forward(scores, model.xp.asarray(piece.targets))
                total += loss
                model.backward(saved, criterion.backward(saved_loss, weight))
        mean = total / part.targets.size
        if not np.isfinite(mean):
            return (
                f"the loss of worker {workers.rank} became {mean} in step {step + 1}; "
                "lower the learning rate or lengthen the warm-up"
            )
        if report:
            report.step(
                StepReport(
                    step=step + 1,
                    loss=mean,
                    learning_rate=schedule(step),
                    tokens=part.targets.size,
                    seconds=perf_counter() - started,
                    blocked_seconds=worker.blocked_seconds - blocked_before,
                )
            )
    return ""


def _validate(workers: Communicator, corpus: Corpus, model: GPT) -> float:
    windows = consecutive_windows(corpus.validation, model.config.context)
    part = windows.part(workers.rank, workers.size)
    total = np.zeros(1)
    for piece in part.in_pieces(VALIDATION_PIECE):
        scores, _ = model.forward(model.xp.asarray(piece.inputs))
        total += model.criterion().forward(scores, model.xp.asarray(piece.targets))[0]
    workers.all_reduce(total)
    return float(total[0]) / windows.targets.size


def _save(
    comm: Communicator, model: GPT, corpus: Corpus, settings: Settings, options: RunOptions
) -> None:
    parameters = model.named_parameters()
    held = [
        Held(f"model.{name}", Place.of(parameter), parameter.data) for name, parameter in parameters
    ]
    writer = CheckpointWriter(comm)
    description = {
        "step": settings.steps,
        "model": asdict(model.config),
        "vocabulary": corpus.vocabulary.characters,
    }
    # The lowest rank that holds something writes it: a worker, and workers are all the same now.
    writer.save(options.folder / CHECKPOINTS, held, description)
    writer.wait()


def _require_possible(settings: Settings, options: RunOptions) -> None:
    cannot = {
        "resume from a checkpoint": options.resume is not None,
        "write checkpoints on the way": options.checkpoint_every > 0,
        "record a trace": options.trace_steps > 0,
        "share out optimizers (zero)": settings.zero > 0,
        "send bfloat16 (precision)": settings.precision != "full",
        "limit the global norm (max_norm)": settings.max_norm < math.inf,
        "train by themselves (local_steps)": settings.local_steps > 0,
    }
    for what, wanted in cannot.items():
        if wanted:
            raise ValueError(f"runs with a parameter server cannot {what}")


def _require_work_for_all(settings: Settings, workers: int) -> None:
    pieces = workers * settings.micro_batches
    if settings.batch_size < pieces:
        raise ValueError(
            f"a batch of {settings.batch_size} sequences cannot be cut into {pieces} pieces, for "
            f"{workers} worker(s) x {settings.micro_batches} micro-batch(es); choose a larger "
            "batch, more servers or fewer micro-batches"
        )


def _introduction(
    server: ParameterServer, model: GPT, corpus: Corpus, consistency: Consistency
) -> str:
    parameters = sum(parameter.data.size for _, parameter in model.named_parameters())
    characters = len(corpus.training) + len(corpus.validation)
    return (
        f"{len(server.workers)} worker(s) and {len(server.servers)} server(s), "
        f"{_words(consistency)}, "
        f"train {parameters / 1e6:.2f} million parameters on {characters} characters "
        f"({len(corpus.vocabulary)} different ones)"
    )


def _words(consistency: Consistency) -> str:
    if consistency.synchronous:
        return "in step"
    return "asynchronous" if consistency.lead is None else f"at most {consistency.lead} steps apart"
