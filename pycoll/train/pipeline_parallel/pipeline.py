"""A model whose layers are spread over the ranks of a communicator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from pycoll.train.array_module import Array, array_module_of
from pycoll.train.data.shard import shard
from pycoll.train.layers.parameter import Parameter
from pycoll.train.pipeline_parallel.criterion import Criterion
from pycoll.train.pipeline_parallel.layer_costs import MakePart, parameter_costs
from pycoll.train.pipeline_parallel.messages import Messages
from pycoll.train.pipeline_parallel.schedules import SCHEDULES, check_request, stage_steps
from pycoll.train.pipeline_parallel.shared_parameters import SharedParameters, find_peers
from pycoll.train.pipeline_parallel.split import split_layers
from pycoll.train.pipeline_parallel.stage_run import StageRun
from pycoll.train.verdict import agreed, gather_texts, require_same

if TYPE_CHECKING:
    from pycoll import Communicator


# They are the same for every batch.
_steps_of = cache(stage_steps)


class Pipeline:
    """A model of which each rank of a communicator holds some layers. Making one is collective.

    Each rank is a stage, and makes its own layers only. A batch is cut into micro-batches, several
    of which are under way on different stages at the same time.

    Parameters
    ----------
    make_part : callable
        ``make_part(range(3, 5))`` returns layers 3 and 4 of the model as one `Layer`, whose
        parameters have the names and first values that they have in the whole model.
    layers : int
        Of the whole model.
    comm : Communicator
        A rank per stage.
    criterion : Criterion
        The loss; only the last stage's is used.
    micro_batches : int
        Into how many a batch is cut: even ones, or some larger by one sequence.
    schedule : {"1f1b", "gpipe", "interleaved"}
    chunks : int
        Parts of the model per stage: 1, and at least 2 for "interleaved".
    costs : sequence of float, optional
        Of each layer, to give all stages about equally much: `measured_costs`, or one's own. By
        default `parameter_costs`.

    Attributes
    ----------
    stage, stages : int
        Number of this stage, from 0, and number of stages.
    parts : list of range
        The layers of each part of the model; part ``c * stages + s`` is chunk ``c`` of stage ``s``.

    Raises
    ------
    RefusedError
        On all ranks, when there is no such pipeline, the model has too few layers, or ranks do not
        ask for the same.

    Examples
    --------
    >>> pipeline = Pipeline(make_part, 12, comm, CrossEntropy(), micro_batches=8)
    >>> optimizer = AdamW(pipeline.named_parameters())
    >>> pipeline.clear_gradients()
    >>> loss = pipeline.forward_backward(inputs, targets, weight)
    >>> optimizer.step(learning_rate)

    With data parallelism, over the ranks that hold the same stage, gradients are reduced while the
    last backward passes go on:

    >>> parallel = DataParallel(pipeline.named_parameters(), other_comm)
    >>> optimizer = AdamW(parallel.parameters)
    >>> with parallel.reducing(passes=pipeline.micro_batches):
    ...     loss = pipeline.forward_backward(inputs, targets, weight)
    >>> parallel.step(optimizer, learning_rate)
    """

    def __init__(
        self,
        make_part: MakePart,
        layers: int,
        comm: Communicator,
        criterion: Criterion,
        *,
        micro_batches: int,
        schedule: str = "1f1b",
        chunks: int = 1,
        costs: Sequence[float] | None = None,
    ) -> None:
        self.comm = comm
        self.stage, self.stages = comm.rank, comm.size
        self.criterion = criterion
        self.micro_batches = micro_batches
        self.schedule = schedule
        self.chunks = chunks
        require_same(
            comm,
            {
                "schedule": schedule,
                "micro_batches": micro_batches,
                "chunks": chunks,
                "layers": layers,
                "costs": None if costs is None else list(map(float, costs)),
            },
        )
        with agreed(comm):
            check_request(schedule, self.stages, micro_batches, chunks)
            if not SCHEDULES[schedule].trains:
                raise ValueError(f"{schedule} does not train; choose 1f1b, gpipe or interleaved")
            if costs is not None and len(costs) != layers:
                raise ValueError(f"there are {len(costs)} costs for {layers} layers")
            # Too few layers are refused before any is made.
            split_layers([1.0] * layers, self.stages, chunks)
            if costs is None:
                costs = parameter_costs(make_part, layers)
            self.parts = split_layers(costs, self.stages, chunks)
            self._chunks = [make_part(part) for part in self.parts[self.stage :: self.stages]]
        parameters = self.named_parameters()
        names = gather_texts(comm, "\n".join(name for name, _ in parameters))
        with agreed(comm):
            peers = find_peers([text.splitlines() for text in names], self.stage)
        self._shared = SharedParameters(parameters, peers, self.stage)
        xp = array_module_of(parameters[0][1].data) if parameters else np
        self._messages = Messages(comm, xp)

    @property
    def blocked_seconds(self) -> float:
        """Time spent waiting for other stages since the object was made, in seconds."""
        return self._messages.blocked_seconds

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Return the parameters of this stage, under their names in the whole model."""
        return [entry for chunk in self._chunks for entry in chunk.named_parameters()]

    def clear_gradients(self) -> None:
        """Forget the gradients; the next `forward_backward` makes new ones."""
        for _, parameter in self.named_parameters():
            parameter.clear_gradient(self.micro_batches)

    def forward_backward(self, inputs: Array, targets: Array, weight: float) -> float:
        """Run all micro-batches of a batch forward and backward. Collective.

        Gradients must have been cleared for as many passes as there are micro-batches.

        Parameters
        ----------
        inputs, targets : Array
            The batch, cut along the first axis. All stages must pass arrays of the same shapes and
            dtypes: these say what will be sent. Only the first stage reads the inputs and only the
            last one the targets.
        weight : float
            By which the loss is multiplied before it is differentiated: 1 / number of targets in
            the global batch, for the mean.

        Returns
        -------
        float
            The summed loss of the batch on the last stage, 0 on the others: the sum over all ranks
            is the loss.
        """
        loss = self._run(self.schedule, inputs, targets).execute(weight)
        self._shared.exchange(self._messages)
        self._messages.flush()
        return loss

    def evaluate(self, inputs: Array, targets: Array, criterion: Criterion | None = None) -> float:
        """Return the summed loss as `forward_backward` does, without gradients. Collective.

        Parameters
        ----------
        inputs, targets : Array
            A batch of any number of sequences, fewer than micro-batches, too.
        criterion : Criterion, optional
            Another one than that of the pipeline.
        """
        run = self._run("forward_only", inputs, targets, criterion)
        loss = run.execute()
        self._messages.flush()
        return loss

    def _run(
        self, schedule: str, inputs: Array, targets: Array, criterion: Criterion | None = None
    ) -> StageRun:
        if len(inputs) != len(targets):
            raise ValueError(
                f"rank {self.comm.rank}: {len(inputs)} inputs do not match {len(targets)} targets"
            )
        # The schedule of a training step needs all of its micro-batches; others may be fewer.
        count = self.micro_batches
        if schedule == "forward_only":
            count = max(1, min(count, len(inputs)))
        cuts = [shard(len(inputs), number, count) for number in range(count)]
        return StageRun(
            stage=self.stage,
            stages=self.stages,
            steps=_steps_of(schedule, self.stage, self.stages, count, self.chunks),
            chunks=self._chunks,
            criterion=criterion or self.criterion,
            inputs=[inputs[cut] for cut in cuts],
            targets=[targets[cut] for cut in cuts],
            messages=self._messages,
        )
