"""Local SGD: ranks train by themselves, and agree on their parameters after every few steps.

At the end of a round of H steps, the parameters at its beginning less the mean of all ranks'
parameters are taken for a gradient, with which an outer optimizer makes one step.

Sources: Stich, "Local SGD Converges Fast and Communicates Little" (2019), algorithm 1: an outer
learning rate of 1 without momentum. Douillard et al., "DiLoCo: Distributed Low-Communication
Training of Language Models" (2023), algorithm 1: with Nesterov's momentum.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from pycoll.train.array_module import Array, array_module_of, device_of
from pycoll.train.layers.layer import Layer
from pycoll.train.layers.parameter import Parameter
from pycoll.train.optim.sgd import SGD
from pycoll.train.verdict import agreed, require_same

if TYPE_CHECKING:
    from pycoll import Communicator, Work

Named = tuple[str, Parameter]


class LocalSGD:
    """Keep the models of all ranks together by one all-reduce per round.

    Making one is collective: the parameters of rank 0 replace those of the other ranks. Each rank
    has an optimizer of its own, of any kind, whose state is never exchanged. Other than with
    `DataParallel`, each rank scales its loss by the number of samples in its *own* batch.

    Parameters
    ----------
    model : Layer or sequence of (str, Parameter)
        What the rank's own optimizer steps on: where that is `DataParallel.parameters`, those, and
        `DataParallel.spread` after every round then gives their values to the model.
    comm : Communicator
    every : int
        Steps of a round, H: the same on all ranks.
    outer_learning_rate : float
        1 takes the mean of the ranks' parameters as it is, if there is no momentum. The default
        is DiLoCo's.
    outer_momentum : float
        Nesterov's, in [0, 1). The default is DiLoCo's.

    Attributes
    ----------
    steps : int
        How many this rank has made.
    blocked_seconds : float
        Time spent waiting for other ranks since the object was made, in seconds.

    Raises
    ------
    RefusedError
        On all ranks, for arguments that make no sense, or that differ between them.

    Examples
    --------
    >>> local = LocalSGD(model, comm, every=20)
    >>> for inputs, targets in batches:
    ...     model.clear_gradients()
    ...     scores, saved = model.forward(inputs)
    ...     model.backward(saved, dscores)
    ...     optimizer.step(learning_rate)
    ...     local.end_step()
    >>> local.synchronize()
    """

    def __init__(
        self,
        model: Layer | Sequence[Named],
        comm: Communicator,
        every: int,
        *,
        outer_learning_rate: float = 0.7,
        outer_momentum: float = 0.9,
    ) -> None:
        with agreed(comm):
            if every < 1:
                raise ValueError(f"every is {every}; a round has at least 1 step")
            if not outer_learning_rate > 0:
                raise ValueError(f"outer_learning_rate must be above 0, not {outer_learning_rate}")
            if not 0 <= outer_momentum < 1:
                raise ValueError(f"outer_momentum must be in [0, 1), not {outer_momentum}")
        require_same(
            comm,
            {
                "every": every,
                "outer_learning_rate": float(outer_learning_rate),
                "outer_momentum": float(outer_momentum),
            },
        )
        self.comm = comm
        self.every = every
        self.steps = 0
        self._since = 0
        self._outer_learning_rate = outer_learning_rate
        self.blocked_seconds = 0.0
        named = list(model) if isinstance(model, Sequence) else model.named_parameters()
        self._groups = [_Group(comm, members) for members in _together(named)]
        self._outer = SGD(
            [(str(number), group.parameter) for number, group in enumerate(self._groups)],
            momentum=outer_momentum,
            nesterov=outer_momentum > 0,
        )

    def end_step(self) -> bool:
        """Say that the optimizer has made a step; the last one of a round is collective.

        Returns
        -------
        bool
            Whether a round has ended: then all ranks have the same parameters.
        """
        self.steps += 1
        self._since += 1
        if self._since < self.every:
            return False
        self.synchronize()
        return True

    def synchronize(self) -> None:
        """End the round now, also where it has had fewer steps. Collective.

        To be called after the last step. Does nothing when a round has just ended.
        """
        if self._since == 0:
            return
        self._since = 0
        works = [group.start() for group in self._groups]
        started = perf_counter()
        for work in works:
            work.wait()
        self.blocked_seconds += perf_counter() - started
        self._outer.step(self._outer_learning_rate)
        for group in self._groups:
            group.give_out()

    def restart(self) -> None:
        """Begin with rank 0's parameters as they are now, without momentum. Collective.

        To be called after they have been changed otherwise than by training, such as by loading a
        checkpoint: the outer steps are relative to where a round began.
        """
        self._since = 0
        for group in self._groups:
            group.begin()
        for velocity in self._outer.state_dict().values():
            velocity[...] = 0


class _Group:
    """Parameters of one dtype, side by side, as all ranks had them when the round began.

    ``parameter`` holds them, and as their gradient the mean of how far the ranks moved down from
    them. Both are on the members' device, the gradient in memory that all ranks of a node see.
    """

    def __init__(self, comm: Communicator, members: list[Named]) -> None:
        self._comm = comm
        self._members = [member for _, member in members]
        total = sum(member.data.size for member in self._members)
        like = self._members[0].data
        self._xp = array_module_of(like)
        self.parameter = Parameter(
            self._xp.empty(total, like.dtype),
            comm.empty(total, like.dtype, device=device_of(like)),
        )
        self.begin()

    def begin(self) -> None:
        """Give all ranks what rank 0's model has."""
        self._take(self.parameter.data)
        self._comm.broadcast(self.parameter.data, root=0)
        self.give_out()

    def start(self) -> Work[Any]:
        """Begin to find the mean of what the ranks moved."""
        self._take(self.parameter.grad)
        self._xp.subtract(self.parameter.data, self.parameter.grad, out=self.parameter.grad)
        return self._comm.all_reduce(self.parameter.grad, op="avg", async_op=True)

    def give_out(self) -> None:
        """Put the agreed values into the model."""
        start = 0
        for member in self._members:
            target = member.data
            target[...] = self.parameter.data[start : start + target.size].reshape(target.shape)
            start += target.size

    def _take(self, out: Array) -> None:
        self._xp.concatenate([member.data.reshape(-1) for member in self._members], out=out)


def _together(parameters: list[Named]) -> list[list[Named]]:
    """Return the parameters by dtype, those that another pipeline stage has, too, by themselves.

    All that have a copy of such a one then add it up in the same order, to the same bits.
    """
    groups: dict[tuple[np.dtype[Any], str], list[Named]] = {}
    for name, parameter in parameters:
        key = parameter.data.dtype, name if parameter.remote_uses else ""
        groups.setdefault(key, []).append((name, parameter))
    return list(groups.values())
