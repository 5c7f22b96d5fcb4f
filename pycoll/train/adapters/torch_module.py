"""A PyTorch module as a layer, so that it is trained like the layers of this package.

PyTorch is optional, and used for forward and backward only: gradients are reduced, and parameters
stepped, by pycoll.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pycoll.train.array_module import Array
from pycoll.train.layers.layer import Layer
from pycoll.train.layers.parameter import Parameter

if TYPE_CHECKING:
    import torch


class TorchModule(Layer):
    """Any ``torch.nn.Module`` with one input and one output, in host memory.

    Its parameters become `Parameter` objects under the names that torch gives them, without those
    that need no gradient. They share their memory with the module's: what an optimizer of pycoll
    does is seen by the module. Where values come from other ranks (ZeRO, parameter servers),
    running the module or ``module.state_dict()`` waits for them. Gradients arrive parameter by
    parameter while the backward pass goes on, so that data parallelism overlaps with it.

    Buffers, such as the running means of batch normalisation, stay each rank's own.

    Parameters
    ----------
    module : torch.nn.Module
        On the CPU, of dtypes that NumPy has.

    Raises
    ------
    ImportError
        When PyTorch is not installed.
    ValueError
        For parameters on another device or of another dtype; they are named.

    Examples
    --------
    >>> model = TorchModule(torch.nn.Sequential(torch.nn.Linear(64, 10)))
    >>> parallel = DataParallel(model, comm)
    """

    def __init__(self, module: torch.nn.Module) -> None:
        try:
            import torch
        except ImportError as error:
            raise ImportError("TorchModule needs PyTorch: pip install torch") from error
        self.xp = np
        self.module = module
        self._torch = torch
        self._bound: list[tuple[Parameter, torch.nn.Parameter, Array]] = []
        for name, tensor in module.named_parameters():
            if not tensor.requires_grad:
                continue
            data = _shared_array(name, tensor)
            parameter = Parameter(data, np.zeros_like(data))
            tensor.register_post_accumulate_grad_hook(_handing_over_to(parameter))
            # Under torch's name, dots and all: named_parameters() then gives the same names.
            vars(self)[name] = parameter
            self._bound.append((parameter, tensor, data))
        # Whoever uses or saves the module itself gets values that have arrived, too.
        module.register_forward_pre_hook(lambda *_: self._follow_moved_parameters())
        module.register_state_dict_pre_hook(lambda *_: self._follow_moved_parameters())

    def forward(self, x: Array) -> tuple[Array, Any]:
        """Return the module's output, a copy of it, and the graph."""
        given = self._torch.from_numpy(np.ascontiguousarray(x))
        if given.is_floating_point():
            given = given.detach().requires_grad_()
        y = self.module(given)
        # A copy: the graph may need the output as it is, and the caller may overwrite it.
        return y.detach().numpy().copy(), (given, y)

    def backward(self, saved: Any, dy: Array) -> Array | None:
        """Run autograd; return the gradient of the input, None for whole numbers."""
        given, y = saved
        y.backward(self._torch.from_numpy(np.ascontiguousarray(dy)))
        return None if given.grad is None else given.grad.numpy()

    def _follow_moved_parameters(self) -> None:
        # Sharded optimizers put all parameters side by side into memory of their own.
        for index, (parameter, tensor, data) in enumerate(self._bound):
            if parameter.data is not data:
                tensor.data = self._torch.from_numpy(parameter.data)
                self._bound[index] = (parameter, tensor, parameter.data)


def _shared_array(name: str, tensor: torch.nn.Parameter) -> Array:
    try:
        array: Array = tensor.detach().numpy()
    except TypeError as error:
        raise ValueError(
            f"the parameter {name!r} is on {tensor.device} and of {tensor.dtype}; "
            "move the module to the CPU, and to a dtype that NumPy has, such as float32"
        ) from error
    return array


def _handing_over_to(parameter: Parameter) -> Callable[[torch.Tensor], None]:
    def hand_over(tensor: torch.Tensor) -> None:
        assert tensor.grad is not None
        parameter.accumulate(np.positive, tensor.grad.numpy())
        tensor.grad = None

    return hand_over
