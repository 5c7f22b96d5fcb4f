"""Stochastic gradient descent with momentum.

Source: Sutskever et al., "On the importance of initialization and momentum in deep learning"
(2013), in the form that PyTorch uses: the velocity is not scaled by the learning rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pycoll.train.layers.parameter import Parameter
from pycoll.train.optim.optimizer import Optimizer


class SGD(Optimizer):
    """``velocity = momentum * velocity + gradient``; ``data -= learning_rate * velocity``.

    Parameters
    ----------
    momentum : float
        In [0, 1). With 0 no velocity is kept.
    nesterov : bool
        Step along ``gradient + momentum * velocity`` instead of ``velocity``.
    weight_decay : float
        Added to the gradient as ``weight_decay * data``, of matrices only.
    """

    def __init__(
        self,
        parameters: Sequence[tuple[str, Parameter]],
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), not {momentum}")
        if nesterov and momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        super().__init__(parameters, weight_decay)
        self.momentum = momentum
        self.nesterov = nesterov
        if momentum:
            for name, parameter in self.parameters:
                self._state[f"velocity.{name}"] = parameter.data * 0

    def updates(self, learning_rate: float) -> Iterator[Parameter]:
        for name, parameter in self.parameters:
            gradient = parameter.grad + self.decay_of(parameter) * parameter.data
            if self.momentum:
                velocity = self._state[f"velocity.{name}"]
                velocity *= self.momentum
                velocity += gradient
                if self.nesterov:
                    gradient += self.momentum * velocity
                else:
                    gradient = velocity
            parameter.data -= learning_rate * gradient
            yield parameter
