"""A PyTorch module as a layer: the same gradients, the same steps, the same memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pycoll
from pycoll.train import DataParallel, GradientError, Layer
from pycoll.train.adapters.torch_module import TorchModule
from pycoll.train.optim.sgd import SGD

torch = pytest.importorskip("torch")


def small_module(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 8), torch.nn.Sigmoid(), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3)
    )


def operands(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.standard_normal((4, 5), np.float32), random.standard_normal((4, 3), np.float32)


def test_gradients_are_those_of_autograd() -> None:
    layer, reference = TorchModule(small_module()), small_module()
    x, dy = operands()
    given = torch.from_numpy(x).requires_grad_()
    expected = reference(given)
    expected.backward(torch.from_numpy(dy))
    y, saved = layer.forward(x)
    np.testing.assert_array_equal(y, expected.detach().numpy())
    layer.clear_gradients()
    dx = layer.backward(saved, dy)
    np.testing.assert_array_equal(dx, given.grad.numpy())
    named = dict(layer.named_parameters())
    assert list(named) == [name for name, _ in reference.named_parameters()]
    for name, tensor in reference.named_parameters():
        np.testing.assert_array_equal(named[name].grad, tensor.grad.numpy())


def test_results_may_be_overwritten() -> None:
    """Sigmoid's backward uses its output: autograd cannot know that someone wrote to it."""
    x, dy = operands()
    gradients = []
    for overwrite in (False, True):
        layer = TorchModule(torch.nn.Sigmoid())
        y, saved = layer.forward(x[:, :3])
        if overwrite:
            y[:] = 0
        gradients.append(layer.backward(saved, dy))
    np.testing.assert_array_equal(*gradients)


def test_two_micro_batches_in_flight_add_up() -> None:
    layer = TorchModule(small_module())
    (x1, dy1), (x2, dy2) = operands(1), operands(2)
    layer.clear_gradients(passes=2)
    _, saved1 = layer.forward(x1)
    _, saved2 = layer.forward(x2)
    layer.backward(saved1, dy1)
    assert not any(parameter.complete for _, parameter in layer.named_parameters())
    layer.backward(saved2, dy2)
    both = TorchModule(small_module())
    both.clear_gradients()
    _, saved = both.forward(np.concatenate([x1, x2]))
    both.backward(saved, np.concatenate([dy1, dy2]))
    for (name, parameter), (_, expected) in zip(
        layer.named_parameters(), both.named_parameters(), strict=True
    ):
        np.testing.assert_allclose(parameter.grad, expected.grad, rtol=1e-5, atol=1e-6), name


def test_steps_are_seen_by_the_module_also_after_parameters_have_moved() -> None:
    module = small_module()
    layer = TorchModule(module)
    x, dy = operands()
    for moved in (False, True):
        if moved:
            for _, parameter in layer.named_parameters():
                parameter.data = parameter.data.copy()
        before, saved = layer.forward(x)
        layer.clear_gradients()
        layer.backward(saved, dy)
        SGD(layer.named_parameters(), momentum=0.0, weight_decay=0.0).step(0.1)
        after, _ = layer.forward(x)
        assert np.abs(after - before).max() > 1e-3
        with torch.no_grad():
            np.testing.assert_array_equal(after, module(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize("zero", [0, 1])
def test_the_module_itself_has_the_values_after_a_step(zero: int) -> None:
    """With ZeRO they lie elsewhere, and are on their way when the step is over."""
    module = small_module()
    layer = TorchModule(module)
    x, dy = operands()
    parallel = DataParallel(layer, pycoll.world(), zero=zero)
    optimizer = SGD(parallel.parameters)

    def step() -> None:
        _, saved = layer.forward(x)
        with parallel.reducing():
            layer.backward(saved, dy)
        parallel.step(optimizer, 0.1)

    step()
    saved_values = {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}
    for name, parameter in layer.named_parameters():
        assert parameter.on_read is None
        np.testing.assert_array_equal(saved_values[name], parameter.data)
    step()
    with torch.no_grad():
        y = module(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(y, layer.forward(x)[0])


def test_it_is_a_part_of_larger_models() -> None:
    class Two(Layer):
        def __init__(self) -> None:
            self.first = TorchModule(torch.nn.Linear(2, 2))
            self.second = TorchModule(torch.nn.Linear(2, 2, bias=False))

        def forward(self, x: Any) -> tuple[Any, Any]:
            raise NotImplementedError

        def backward(self, saved: Any, dy: Any) -> Any:
            raise NotImplementedError

    names = [name for name, _ in Two().named_parameters()]
    assert names == ["first.weight", "first.bias", "second.weight"]


def test_whole_numbers_go_in_and_frozen_parameters_stay() -> None:
    module = torch.nn.Sequential(torch.nn.Embedding(7, 4), torch.nn.Linear(4, 2))
    module[1].bias.requires_grad_(False)
    layer = TorchModule(module)
    assert [name for name, _ in layer.named_parameters()] == ["0.weight", "1.weight"]
    y, saved = layer.forward(np.array([[1, 2], [3, 4]]))
    assert y.shape == (2, 2, 2)
    layer.clear_gradients()
    assert layer.backward(saved, np.ones_like(y)) is None


def test_a_second_backward_pass_without_clearing_is_an_error() -> None:
    layer = TorchModule(small_module())
    x, dy = operands()
    layer.clear_gradients()
    layer.backward(layer.forward(x)[1], dy)
    with pytest.raises(GradientError, match="call clear_gradient"):
        layer.backward(layer.forward(x)[1], dy)


def test_parameters_that_numpy_cannot_hold_are_named() -> None:
    with pytest.raises(ValueError, match=r"'weight' is on cpu and of torch.bfloat16"):
        TorchModule(torch.nn.Linear(2, 2, dtype=torch.bfloat16))
