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

from pycoll.train.array_module import Array, array_module_of, as_numpy
from pycoll.train.layers.layer import Layer
from pycoll.train.layers.parameter import Parameter
from pycoll.train.optim.sgd import SGD
from pycoll.train.verdict import RefusedError, agreed

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
        On all ranks, for arguments that make no sense, or when ``every`` differs between them.

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
        extremes = comm.all_reduce(np.array([every, -every]), op="max")
        if extremes[0] != -extremes[1]:
            raise RefusedError(
                f"'every' is from {-extremes[1]} to {extremes[0]} on different ranks; all must "
                "pass the same"
            )
        self.comm = comm
        self.every = every
        self.steps = 0
        self._since = 0
        self._outer_learning_rate = outer_learning_rate
        self.blocked_seconds = 0.0
        named = list(model) if isinstance(model, Sequence) else model.named_parameters()
        self._groups = [_Group(comm, members) for members in _by_dtype(named)]
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
        works = [group.start(self.comm) for group in self._groups]
        started = perf_counter()
        for work in works:
            work.wait()
        self.blocked_seconds += perf_counter() - started
        self._outer.step(self._outer_learning_rate)
        for group in self._groups:
            group.give_out()


class _Group:
    """Parameters of one dtype, side by side, as all ranks had them when the last round ended.

    ``parameter`` holds them, and as their gradient the mean of how far the ranks moved down from
    them. Both are in host memory, the gradient in memory that all ranks of a node see.
    """

    def __init__(self, comm: Communicator, members: list[Named]) -> None:
        self._members = [member for _, member in members]
        total = sum(member.data.size for member in self._members)
        dtype = self._members[0].data.dtype
        self.parameter = Parameter(np.empty(total, dtype), comm.empty(total, dtype))
        self._take(self.parameter.data)
        comm.broadcast(self.parameter.data, root=0)
        self.give_out()

    def start(self, comm: Communicator) -> Work[Any]:
        """Begin to find the mean of what the ranks moved."""
        self._take(self.parameter.grad)
        np.subtract(self.parameter.data, self.parameter.grad, out=self.parameter.grad)
        return comm.all_reduce(self.parameter.grad, op="avg", async_op=True)

    def give_out(self) -> None:
        """Put the agreed values into the model."""
        start = 0
        for member in self._members:
            target = member.data
            part = self.parameter.data[start : start + target.size].reshape(target.shape)
            target[...] = array_module_of(target).asarray(part)
            start += target.size

    def _take(self, out: Array) -> None:
        np.concatenate([as_numpy(member.data).reshape(-1) for member in self._members], out=out)


def _by_dtype(parameters: list[Named]) -> list[list[Named]]:
    groups: dict[np.dtype[Any], list[Named]] = {}
    for name, parameter in parameters:
        groups.setdefault(parameter.data.dtype, []).append((name, parameter))
    return list(groups.values())
