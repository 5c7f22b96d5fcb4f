"""A whole pipeline as a value: what all stages do, proven and priced."""

from __future__ import annotations

from dataclasses import dataclass

from pycoll.train.pipeline_parallel.schedules import SCHEDULES, Schedule, pipeline_steps
from pycoll.train.pipeline_parallel.simulation import Costs, Simulation, simulate
from pycoll.train.pipeline_parallel.step import Step


@dataclass(frozen=True)
class PipelinePlan:
    """What all stages of a pipeline do in one step of training.

    Attributes
    ----------
    schedule : str
        Name, as in `SCHEDULES`.
    stages, micro_batches, chunks : int
    costs : Costs
    steps : list of list of Step
        Of every stage.
    simulation : Simulation
    """

    schedule: str
    stages: int
    micro_batches: int
    chunks: int
    costs: Costs
    steps: list[list[Step]]
    simulation: Simulation

    @property
    def description(self) -> Schedule:
        """What kind of schedule it is."""
        return SCHEDULES[self.schedule]

    @property
    def ideal_bubble(self) -> float:
        """The bubble where messages take no time: ``(p - 1) / (c m + p - 1)`` of the whole time.

        With ``p`` stages, ``m`` micro-batches and ``c`` chunks per stage. The papers give it in
        relation to the time of the computation alone, ``(p - 1) / (c m)``.
        """
        fill = self.stages - 1
        return fill / (self.chunks * self.micro_batches + fill)


def plan_pipeline(
    schedule: str,
    stages: int,
    micro_batches: int,
    chunks: int = 1,
    costs: Costs | None = None,
) -> PipelinePlan:
    """Work out, prove and price what all stages do.

    Raises
    ------
    ValueError
        When there is no such pipeline; it says what would work.
    """
    costs = costs or Costs()
    steps = pipeline_steps(schedule, stages, micro_batches, chunks)
    trains = SCHEDULES[schedule].trains
    simulation = simulate(steps, micro_batches, chunks, costs, trains=trains)
    return PipelinePlan(schedule, stages, micro_batches, chunks, costs, steps, simulation)
