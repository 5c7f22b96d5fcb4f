"""One batch on its way through one stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pycoll.train.array_module import Array
from pycoll.train.layers.layer import Layer
from pycoll.train.pipeline_parallel.messages import Form, Messages
from pycoll.train.pipeline_parallel.step import Step
from pycoll.train.report.trace import span

if TYPE_CHECKING:
    from pycoll.train.pipeline_parallel.criterion import Criterion
    from pycoll.work import Work


class StageRun:
    """Executes the steps of a stage.

    Sends never wait. Each receive is started one computation before the one that needs it, so that
    the message can arrive meanwhile. Earlier would not help: a message that takes longer than a
    computation limits the pipeline anyway.

    Parameters
    ----------
    steps : sequence of Step
        As `stage_steps` returns them.
    chunks : sequence of Layer
        The layers of each chunk.
    inputs, targets : sequence of Array
        Of each micro-batch.
    """

    def __init__(
        self,
        *,
        stage: int,
        stages: int,
        steps: Sequence[Step],
        chunks: Sequence[Layer],
        criterion: Criterion,
        inputs: Sequence[Array],
        targets: Sequence[Array],
        messages: Messages,
    ) -> None:
        self.stage = stage
        self.stages = stages
        self.steps = steps
        self.chunks = chunks
        self.criterion = criterion
        self.inputs = inputs
        self.targets = targets
        self.messages = messages
        self.trains = any(step.kind == "backward" for step in steps)
        self.last_part = stages * len(chunks) - 1
        self.loss = 0.0
        # By micro-batch and part: what part computed or receives it.
        self._activations: dict[tuple[int, int], Array] = {}
        self._gradients: dict[tuple[int, int], Array] = {}
        self._saved: dict[tuple[int, int], Any] = {}
        self._input_forms: dict[tuple[int, int], Form] = {}
        self._output_forms: dict[tuple[int, int], Form] = {}
        self._receives = [step for step in steps if step.kind.startswith("recv")]
        self._received = 0
        self._receiving: Work[Array] | None = None  # the next one, once started

    def execute(self, weight: float = 1.0) -> float:
        """Run all steps; return the summed loss on the last stage, 0 elsewhere."""
        for step in self.steps:
            match step.kind:
                case "recv_activation" | "recv_gradient":
                    self._finish_receive(step)
                case "send_activation":
                    self._send_activation(step)
                case "send_gradient":
                    self._send_gradient(step)
                case "forward":
                    self._start_receive(may_wait=False)
                    with span(str(step)):
                        self._forward(step)
                case "backward":
                    self._start_receive(may_wait=False)
                    with span(str(step)):
                        self._backward(step, weight)
        return self.loss

    def _part(self, step: Step) -> int:
        return step.chunk * self.stages + self.stage

    def _forward(self, step: Step) -> None:
        part = self._part(step)
        which = step.micro_batch, part
        x = (
            self.inputs[step.micro_batch]
            if part == 0
            else self._activations.pop((step.micro_batch, part - 1))
        )
        if part > 0:
            self._input_forms[which] = Form.of(x)
        y, saved = self.chunks[step.chunk].forward(x)
        if part == self.last_part:
            loss, saved_loss = self.criterion.forward(y, self.targets[step.micro_batch])
            self.loss += loss
            saved = saved, saved_loss
        else:
            self._activations[which] = y
            self._output_forms[which] = Form.of(y)
        if self.trains:
            self._saved[which] = saved

    def _backward(self, step: Step, weight: float) -> None:
        part = self._part(step)
        which = step.micro_batch, part
        saved = self._saved.pop(which)
        if part == self.last_part:
            saved, saved_loss = saved
            dy = self.criterion.backward(saved_loss, weight)
        else:
            dy = self._gradients.pop((step.micro_batch, part + 1))
        dx = self.chunks[step.chunk].backward(saved, dy)
        if part > 0:
            self._gradients[which] = dx

    def _send_activation(self, step: Step) -> None:
        assert step.peer is not None
        which = step.micro_batch, self._part(step)
        self.messages.announce(
            self._key(step.micro_batch, which[1]), self._output_forms[which], step.peer
        )
        self.messages.send("activation", self._activations.pop(which), step.peer)

    def _send_gradient(self, step: Step) -> None:
        assert step.peer is not None
        which = step.micro_batch, self._part(step)
        gradient = self._gradients.pop(which)
        expected = self._input_forms.pop(which)
        if Form.of(gradient) != expected:
            raise ValueError(
                f"rank {self.messages.comm.rank}: a backward pass returned a gradient of shape "
                f"{Form.of(gradient)} for an input of shape {expected}"
            )
        self.messages.send("gradient", gradient, step.peer)

    def _finish_receive(self, step: Step) -> None:
        self._start_receive(may_wait=True)
        assert self._receiving is not None
        array = self.messages.wait(self._receiving)
        self._receiving = None
        self._received += 1
        if step.kind == "recv_activation":
            self._activations[step.micro_batch, self._part(step) - 1] = array
        else:
            self._gradients[step.micro_batch, self._part(step) + 1] = array

    def _start_receive(self, *, may_wait: bool) -> None:
        """Start the next receive, unless it has been, or its form would have to be waited for."""
        if self._receiving is not None or self._received == len(self._receives):
            return
        step = self._receives[self._received]
        assert step.peer is not None
        part = self._part(step)
        form: Form | None
        if step.kind == "recv_gradient":
            form = self._output_forms.get((step.micro_batch, part))
        else:
            key = self._key(step.micro_batch, part - 1)
            form = self.messages.learn(key, step.peer) if may_wait else self.messages.form_of(key)
        if form is not None:
            kind = step.kind.removeprefix("recv_")
            self._receiving = self.messages.receive(kind, form, step.peer)

    def _key(self, micro_batch: int, part: int) -> tuple[int, Form]:
        """Name the form of what a part computes of a micro-batch: both ends can tell it."""
        return part, Form.of(self.inputs[micro_batch])
