"""Models cut into parts, as pipeline stages hold them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pycoll.train import GPT, MLP, GPTConfig, Initializer, MLPConfig

GPTS = [GPTConfig(7, 5, 4, 2, layers=2, tied=tied) for tied in (False, True)]
MODELS: list[tuple[Any, Any, np.ndarray]] = [
    *((GPT, config, np.random.default_rng(5).integers(7, size=(3, 5))) for config in GPTS),
    (MLP, MLPConfig((3, 4, 5)), np.random.default_rng(5).standard_normal((6, 3))),
]


@pytest.mark.parametrize(("kind", "config", "x"), MODELS)
@pytest.mark.parametrize("cut", [1, 2])
def test_parts_do_what_the_whole_does(kind: Any, config: Any, x: np.ndarray, cut: int) -> None:
    """Same names, same first values, same results; a tied weight has its gradient in two shares."""
    layers = len(kind.layer_names(config))
    whole = kind(config, Initializer(0, "float64"))
    assert list(whole.layers) == kind.layer_names(config)
    first = kind(config, Initializer(0, "float64"), part=range(cut))
    second = kind(config, Initializer(0, "float64"), part=range(cut, layers))
    y, saved = whole.forward(x)
    middle, saved_first = first.forward(x)
    y_parts, saved_second = second.forward(middle)
    np.testing.assert_array_equal(y_parts, y)

    dy = np.random.default_rng(6).standard_normal(y.shape)
    for model in (whole, first, second):
        model.clear_gradients()
    whole.backward(saved, dy)
    first.backward(saved_first, second.backward(saved_second, dy))
    gradients: dict[str, np.ndarray] = {}
    for name, parameter in [*first.named_parameters(), *second.named_parameters()]:
        assert parameter.complete
        gradients[name] = gradients.get(name, 0) + parameter.grad
    assert gradients.keys() == dict(whole.named_parameters()).keys()
    for name, parameter in whole.named_parameters():
        np.testing.assert_allclose(gradients[name], parameter.grad, atol=1e-13, err_msg=name)


def test_the_head_of_a_tied_model_has_a_copy_of_the_embedding() -> None:
    first, last, whole = (
        dict(GPT(GPTS[1], Initializer(0), part=part).named_parameters())
        for part in (range(1), range(5, 6), None)
    )
    assert list(last) == ["tokens.weight"]
    np.testing.assert_array_equal(last["tokens.weight"].data, first["tokens.weight"].data)
    assert [p["tokens.weight"].is_copy for p in (first, last, whole)] == [False, True, False]


@pytest.mark.parametrize("part", [range(0), range(3, 7), range(-1, 2), range(0, 4, 2)])
def test_a_part_that_is_none_is_refused(part: range) -> None:
    with pytest.raises(ValueError, match="consecutive numbers of the 6 layers"):
        GPT(GPTS[0], Initializer(0), part=part)


@pytest.mark.parametrize("widths", [(), (3,), (3, 0, 2)])
def test_widths_that_are_no_classifier_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="each at least 1"):
        MLPConfig(widths)
