"""Every layer's backward function against finite differences in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from finite_differences import differences, require_equal_gradient, require_right_gradients

from pycoll.train import (
    GELU,
    GPT,
    MLP,
    CausalAttention,
    CrossEntropy,
    Embedding,
    FeedForward,
    GPTConfig,
    Initializer,
    Layer,
    LayerNorm,
    Linear,
    MLPConfig,
    PositionEmbedding,
    Recompute,
    SwiGLU,
    TransformerBlock,
)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal(shape)


def initializer() -> Initializer:
    return Initializer(seed=3, dtype="float64")


def shaken(layer: Layer) -> Layer:
    """Move parameters away from first values that hide mistakes: gains of 1, biases of 0."""
    generator = np.random.default_rng(4)
    for _, parameter in layer.named_parameters():
        parameter.data += 0.3 * generator.standard_normal(parameter.data.shape)
    return layer


MAKERS: dict[str, tuple[Callable[[Initializer], Layer], tuple[int, ...]]] = {
    "linear": (lambda init: Linear(init, 3, 4), (5, 3)),
    "linear on sequences": (lambda init: Linear(init, 3, 4), (2, 5, 3)),
    "linear without bias": (lambda init: Linear(init, 3, 4, bias=False), (5, 3)),
    "layer norm": (lambda init: LayerNorm(init, 6), (2, 3, 6)),
    "gelu": (lambda init: GELU(init), (4, 5)),
    "feed forward": (lambda init: FeedForward(init, 4), (2, 3, 4)),
    "attention": (lambda init: CausalAttention(init, 6, 2, context=4), (2, 4, 6)),
    "attention, short": (lambda init: CausalAttention(init, 6, 3, context=8), (2, 3, 6)),
    "positions": (lambda init: PositionEmbedding(init, 4, 3, std=1.0), (2, 4, 3)),
    "positions, short": (lambda init: PositionEmbedding(init, 7, 3, std=1.0), (2, 4, 3)),
    "swiglu": (lambda init: SwiGLU(init), (4, 6)),
    "gated feed forward": (
        lambda init: FeedForward(init, 4, activation="swiglu", expansion=3),
        (2, 3, 4),
    ),
    "classifier": (lambda init: MLP(MLPConfig((3, 5, 4, 2)), init), (6, 3)),
    "recomputed block": (
        lambda init: Recompute(TransformerBlock(init, 6, 2, context=5, activation="swiglu")),
        (2, 4, 6),
    ),
    "block": (lambda init: TransformerBlock(init, 6, 2, context=5), (2, 4, 6)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_equal_finite_differences(name: str) -> None:
    make, shape = MAKERS[name]
    require_right_gradients(shaken(make(initializer())), numbers(*shape))


def test_embedding_adds_up_repeated_tokens() -> None:
    embedding = Embedding(initializer(), 5, 3, std=1.0)
    require_right_gradients(embedding, np.array([[0, 2, 2], [4, 2, 0]]))
    assert not embedding.weight.grad[1].any()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("length", [3, 5])
def test_whole_model(tied: bool, length: int) -> None:
    """Tied: the embedding's gradient comes from the first and the last layer."""
    model = GPT(GPTConfig(7, context=5, width=4, heads=2, layers=2, tied=tied), initializer())
    require_right_gradients(shaken(model), np.random.default_rng(5).integers(7, size=(2, length)))


def test_positions_beyond_the_length_have_gradient_zero() -> None:
    """Also where the gradient held something before: it is overwritten, not added to."""
    layer = PositionEmbedding(initializer(), 7, 3, std=1.0)
    layer.weight.grad[...] = 9
    _, saved = layer.forward(numbers(2, 4, 3))
    layer.clear_gradients()
    layer.backward(saved, numbers(2, 4, 3))
    assert layer.weight.grad[:4].all()
    assert not layer.weight.grad[4:].any()


def test_cross_entropy_is_minus_the_log_of_the_softmax() -> None:
    scores, targets = numbers(2, 3, 5), np.array([[0, 4, 2], [1, 1, 3]])
    loss, _ = CrossEntropy().forward(scores, targets)
    softmax = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    expected = -sum(np.log(softmax[i, j, targets[i, j]]) for i in range(2) for j in range(3))
    assert loss == pytest.approx(expected, rel=1e-14)


def test_cross_entropy_gradient() -> None:
    criterion, scores, targets = CrossEntropy(), numbers(2, 3, 5), np.array([[0, 4, 2], [1, 1, 3]])
    _, saved = criterion.forward(scores, targets)
    found = criterion.backward(saved, 0.25)
    expected = differences(lambda: 0.25 * criterion.forward(scores, targets)[0], scores)
    require_equal_gradient("scores", found, expected)


def test_cross_entropy_of_great_scores_is_finite() -> None:
    """exp(1000) would overflow."""
    loss, saved = CrossEntropy().forward(np.array([[1000.0, 0.0]]), np.array([1]))
    assert loss == 1000
    np.testing.assert_array_equal(CrossEntropy().backward(saved, 1.0), [[1, -1]])


def test_attention_of_great_scores_is_finite() -> None:
    layer = CausalAttention(initializer(), 4, 1, context=3)
    y, _ = layer.forward(1e4 * numbers(1, 3, 4))
    assert np.isfinite(y).all()


@pytest.mark.parametrize("position", [1, 2, 3])
def test_a_position_does_not_see_later_ones(position: int) -> None:
    layer = CausalAttention(initializer(), 6, 2, context=4)
    x = numbers(2, 4, 6)
    before, _ = layer.forward(x)
    x[:, position] += 1
    after, _ = layer.forward(x)
    np.testing.assert_array_equal(after[:, :position], before[:, :position])
    assert (after[:, position:] != before[:, position:]).any(axis=-1).all()


def model_and_tokens() -> tuple[GPT, np.ndarray]:
    model = GPT(GPTConfig(7, context=5, width=4, heads=2, layers=2), initializer())
    return model, np.random.default_rng(5).integers(7, size=(4, 5))


def test_several_passes_in_flight_add_up() -> None:
    """Nothing is kept in a layer between forward and backward: micro-batches do not mix."""
    model, tokens = model_and_tokens()
    weights = numbers(4, 5, 7)
    _, saved = model.forward(tokens)
    model.clear_gradients()
    model.backward(saved, weights)
    whole = {name: parameter.grad.copy() for name, parameter in model.named_parameters()}

    saved_parts = [model.forward(tokens[rows])[1] for rows in (slice(0, 1), slice(1, 4))]
    model.clear_gradients(passes=2)
    for saved_part, rows in zip(saved_parts, (slice(0, 1), slice(1, 4)), strict=True):
        model.backward(saved_part, weights[rows])
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.grad, whole[name], atol=1e-13, err_msg=name)


def test_an_empty_batch_gives_zero_gradients() -> None:
    """Ranks without a share of the batch take part like this."""
    model, tokens = model_and_tokens()
    for _, parameter in model.named_parameters():
        parameter.grad[...] = 9
    scores, saved = model.forward(tokens[:0])
    loss, saved_loss = CrossEntropy().forward(scores, tokens[:0])
    model.clear_gradients()
    model.backward(saved, CrossEntropy().backward(saved_loss, 1.0))
    assert loss == 0
    for name, parameter in model.named_parameters():
        assert parameter.complete, name
        assert not parameter.grad.any(), name


def test_too_many_tokens_are_refused() -> None:
    model, _ = model_and_tokens()
    with pytest.raises(ValueError, match="6 tokens do not fit into the context of 5"):
        model.forward(np.zeros((1, 6), dtype=np.int64))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 6 is not a multiple of heads 4"):
        CausalAttention(initializer(), 6, 4, context=3)


def test_first_values_do_not_depend_on_the_dtype() -> None:
    config = GPTConfig(7, context=5, width=4, heads=2, layers=1)
    single = GPT(config, Initializer(0, "float32")).named_parameters()
    double = GPT(config, Initializer(0, "float64")).named_parameters()
    for (name, a), (_, b) in zip(single, double, strict=True):
        np.testing.assert_array_equal(a.data, b.data.astype(np.float32), err_msg=name)
        assert a.grad.shape == a.data.shape
        assert a.grad.dtype == a.data.dtype == np.float32


def test_a_shared_parameter_is_named_once() -> None:
    names = [
        name
        for name, _ in GPT(
            GPTConfig(7, context=5, width=4, heads=2, layers=1, tied=True), initializer()
        ).named_parameters()
    ]
    assert names[0] == "tokens.weight"
    assert not any(name.startswith("head") for name in names)
    assert len(names) == len(set(names))


def test_a_recomputed_layer_keeps_its_input_only_and_its_names() -> None:
    block = TransformerBlock(initializer(), 6, 2, context=5)
    layer, x = Recompute(block), numbers(2, 4, 6)
    y, saved = layer.forward(x)
    np.testing.assert_array_equal(y, block.forward(x)[0])
    assert saved is x
    assert [name for name, _ in layer.named_parameters()] == [
        name for name, _ in block.named_parameters()
    ]


def test_swiglu_of_great_gates_is_finite() -> None:
    """exp(1000) would overflow."""
    layer = SwiGLU(initializer())
    y, saved = layer.forward(np.array([[1000.0, -1000.0, 3.0, 3.0]]))
    np.testing.assert_array_equal(y, [[3000, 0]])
    np.testing.assert_array_equal(layer.backward(saved, np.ones((1, 2))), [[3, 0, 1000, 0]])


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown activation 'relu'; choose"):
        GPTConfig(7, context=5, width=4, heads=2, layers=1, activation="relu")
