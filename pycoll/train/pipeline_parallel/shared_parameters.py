"""Parameters of which two stages have a copy, such as those of tied embeddings.

The layers of each of the two stages find a part of the gradient. The stages send each other their
parts, so that both copies get the same sum, take the same optimizer steps and stay equal. To
everybody else (data parallelism, optimizers) the peer's part is one more contribution to the
gradient.

Source: Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters Using
Megatron-LM" (2021), whose code sums them in a group of the two stages.
"""

from __future__ import annotations

from collections.abc import Sequence

from pycoll.train.layers.parameter import GradientError, Parameter
from pycoll.train.pipeline_parallel.messages import Form, Messages

_KIND = "shared"


def find_peers(names: Sequence[Sequence[str]], stage: int) -> dict[str, int]:
    """Return which other stage has a copy of which parameter of this stage.

    Parameters
    ----------
    names : sequence of sequence of str
        Of the parameters of each chunk of each stage: parameters are the same where names are.

    Raises
    ------
    ValueError
        When more than two stages share a parameter, or two chunks of a stage do.
    """
    holders: dict[str, list[int]] = {}
    for number, own in enumerate(names):
        for name in own:
            holders.setdefault(name, []).append(number)
    peers = {}
    for name, stages in holders.items():
        if len(stages) > 2 or len(set(stages)) < len(stages):
            raise ValueError(
                f"{name} would be in parts of the model on stages {', '.join(map(str, stages))}; "
                "a parameter can be shared by one part on each of two stages at most"
            )
        if len(stages) == 2 and stage in stages:
            peers[name] = stages[1] if stages[0] == stage else stages[0]
    return peers


class SharedParameters:
    """The parameters of this stage that another one has, too.

    Parameters
    ----------
    parameters : sequence of (str, Parameter)
        Of this stage.
    peers : dict
        What `find_peers` returned.
    stage : int
        Number of this stage.
    """

    def __init__(
        self, parameters: Sequence[tuple[str, Parameter]], peers: dict[str, int], stage: int
    ) -> None:
        self._shared = [
            (name, parameter, peers[name]) for name, parameter in parameters if name in peers
        ]
        for _, parameter, peer in self._shared:
            parameter.remote_uses = 1
            # One of the two counts in a norm over all stages.
            parameter.is_copy = peer < stage

    def exchange(self, messages: Messages) -> None:
        """Add the peers' parts of the gradients, after all backward passes of this stage."""
        receiving = []
        for name, parameter, peer in self._shared:
            if parameter.missing != 1:
                raise GradientError(
                    f"rank {messages.comm.rank}: {parameter.missing - 1} contribution(s) to the "
                    f"gradient of {name} are missing; clear gradients for as many passes as there "
                    "are micro-batches"
                )
            # A copy: the gradient itself changes while it is on its way.
            messages.send(_KIND, parameter.grad.copy(), peer)
            receiving.append(messages.receive(_KIND, Form.of(parameter.grad), peer))
        for (_, parameter, _), work in zip(self._shared, receiving, strict=True):
            parameter.accumulate(messages.xp.positive, messages.wait(work))
