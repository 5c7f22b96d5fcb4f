"""Adam with decoupled weight decay.

Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from pycoll.train.array_module import array_module_of
from pycoll.train.layers.parameter import Parameter
from pycoll.train.optim.optimizer import Optimizer


class AdamW(Optimizer):
    """Step along the mean gradient, scaled by its root mean square.

    Parameters
    ----------
    betas : (float, float)
        Decay rates of the two moments, in [0, 1).
    epsilon : float
        Added to the root mean square. It also bounds how far rounding noise is amplified in
        parameters whose gradient is nearly 0.
    weight_decay : float
        Of matrices only; scaled by the learning rate.
    """

    def __init__(
        self,
        parameters: Sequence[tuple[str, Parameter]],
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        epsilon: float = 1e-8,
        weight_decay: float = 0.1,
    ) -> None:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must be in [0, 1), not {betas}")
        super().__init__(parameters, weight_decay)
        self.betas = betas
        self.epsilon = epsilon
        self._state["steps"] = np.zeros(1, dtype=np.int64)
        for name, parameter in self.parameters:
            self._state[f"first_moment.{name}"] = parameter.data * 0
            self._state[f"second_moment.{name}"] = parameter.data * 0

    def updates(self, learning_rate: float) -> Iterator[Parameter]:
        self._state["steps"] += 1
        steps = int(self._state["steps"][0])
        beta1, beta2 = self.betas
        # The corrections for moments that started at 0 are put into two scalars, so that no
        # corrected moment has to be stored.
        rate = learning_rate / (1 - beta1**steps)
        second_scale = 1 / math.sqrt(1 - beta2**steps)
        for name, parameter in self.parameters:
            first = self._state[f"first_moment.{name}"]
            second = self._state[f"second_moment.{name}"]
            term = parameter.grad * (1 - beta1)
            first *= beta1
            first += term
            term = parameter.grad * parameter.grad
            term *= 1 - beta2
            second *= beta2
            second += term
            array_module_of(second).sqrt(second, out=term)
            term *= second_scale
            term += self.epsilon
            array_module_of(first).divide(first, term, out=term)
            term *= rate
            decay = self.decay_of(parameter)
            if decay:
                parameter.data *= 1 - learning_rate * decay
            parameter.data -= term
            yield parameter
