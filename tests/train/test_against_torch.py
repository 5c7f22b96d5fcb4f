"""Scores, loss and gradients of a whole model against PyTorch's own layers and autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pycoll.train import GPT, MLP, GPTConfig, Initializer, MLPConfig

torch = pytest.importorskip("torch")
F = torch.nn.functional

TOLERANCE = 1e-11


def on_torch(model: Any) -> dict[str, Any]:
    return {
        name: torch.tensor(parameter.data, requires_grad=True)
        for name, parameter in model.named_parameters()
    }


def norm(p: dict[str, Any], name: str, x: Any) -> Any:
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.gain"], p[f"{name}.bias"])


def attention(p: dict[str, Any], name: str, x: Any, heads: int) -> Any:
    parts = (x @ p[f"{name}.qkv.weight"]).chunk(3, dim=-1)
    queries, keys, values = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts)
    mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    return mixed.transpose(1, 2).flatten(2) @ p[f"{name}.out.weight"]


def feed_forward(p: dict[str, Any], name: str, x: Any, activation: str) -> Any:
    hidden = x @ p[f"{name}.widen.weight"]
    if activation == "gelu":
        active = F.gelu(hidden, approximate="tanh")
    else:
        gate, value = hidden.chunk(2, dim=-1)
        active = F.silu(gate) * value
    return active @ p[f"{name}.narrow.weight"]


def gpt(config: GPTConfig, p: dict[str, Any], tokens: Any) -> Any:
    x = F.embedding(tokens, p["tokens.weight"]) + p["positions.weight"][: tokens.shape[1]]
    for block in (f"blocks.{number}" for number in range(config.layers)):
        normal = norm(p, f"{block}.attention_norm", x)
        x = x + attention(p, f"{block}.attention", normal, config.heads)
        normal = norm(p, f"{block}.feed_forward_norm", x)
        x = x + feed_forward(p, f"{block}.feed_forward", normal, config.activation)
    x = norm(p, "final_norm", x)
    return F.linear(x, p["tokens.weight"]) if config.tied else x @ p["head.weight"]


def require_same(model: Any, x: np.ndarray, targets: np.ndarray, theirs: Any) -> None:
    """``theirs(parameters, x)`` is the same model in PyTorch."""
    generator = np.random.default_rng(4)
    for _, parameter in model.named_parameters():
        # Away from gains of 1 and biases of 0.
        parameter.data += 0.3 * generator.standard_normal(parameter.data.shape)
    criterion, parameters = model.criterion(), on_torch(model)
    expected = theirs(parameters, torch.tensor(x))
    expected_loss = F.cross_entropy(
        expected.flatten(0, -2), torch.tensor(targets).flatten(), reduction="sum"
    )
    (0.5 * expected_loss).backward()

    scores, saved = model.forward(x)
    loss, saved_loss = criterion.forward(scores, targets)
    model.clear_gradients()
    model.backward(saved, criterion.backward(saved_loss, 0.5))
    np.testing.assert_allclose(scores, expected.detach().numpy(), atol=TOLERANCE)
    assert loss == pytest.approx(expected_loss.item(), rel=TOLERANCE)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(
            parameter.grad, parameters[name].grad.numpy(), atol=TOLERANCE, err_msg=name
        )


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize(("tied", "recompute"), [(False, True), (True, False)])
def test_gpt(tied: bool, recompute: bool, activation: Any) -> None:
    config = GPTConfig(11, context=8, width=12, heads=3, layers=2, tied=tied, activation=activation)
    model = GPT(config, Initializer(3, "float64"), recompute=recompute)
    tokens = np.random.default_rng(5).integers(11, size=(2, 8))
    require_same(model, tokens[:, :-1], tokens[:, 1:], lambda p, x: gpt(config, p, x))


def test_mlp() -> None:
    def mlp(p: dict[str, Any], x: Any) -> Any:
        for number in range(3):
            x = x @ p[f"linear_{number}.weight"] + p[f"linear_{number}.bias"]
            x = F.gelu(x, approximate="tanh") if number < 2 else x
        return x

    generator = np.random.default_rng(5)
    x, targets = generator.standard_normal((6, 5)), generator.integers(4, size=6)
    require_same(MLP(MLPConfig((5, 7, 6, 4)), Initializer(3, "float64")), x, targets, mlp)
