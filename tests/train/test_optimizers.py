"""Optimizers against formulas written down independently, and against PyTorch where it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from pycoll.train import (
    SGD,
    AdamW,
    Optimizer,
    Parameter,
    Piece,
    StateError,
    WarmupCosine,
    clip_gradients,
)

STEPS = 6
Named = list[tuple[str, Parameter]]


def parameters() -> Named:
    generator = np.random.default_rng(0)
    shapes = {"matrix": (3, 2), "vector": (4,)}
    return [
        (name, Parameter(generator.standard_normal(shape), np.zeros(shape)))
        for name, shape in shapes.items()
    ]


def gradients(step: int, named: Named) -> list[np.ndarray]:
    generator = np.random.default_rng((1, step))
    return [generator.standard_normal(parameter.data.shape) for _, parameter in named]


def rate(step: int) -> float:
    return 0.1 / (step + 1)


def run(optimizer: Optimizer, named: Named, steps: Sequence[int] = range(STEPS)) -> None:
    for step in steps:
        for (_, parameter), gradient in zip(named, gradients(step, named), strict=True):
            parameter.grad[...] = gradient
        optimizer.step(rate(step))


def adamw_by_the_book(named: Named, decay: float) -> list[np.ndarray]:
    """Loshchilov and Hutter, algorithm 2, with the moments corrected one by one."""
    beta1, beta2, epsilon = 0.8, 0.95, 1e-6
    results = []
    for index, (name, parameter) in enumerate(named):
        x = parameter.data.copy()
        m = np.zeros_like(x)
        v = np.zeros_like(x)
        weight = decay if name == "matrix" else 0
        for t in range(1, STEPS + 1):
            g = gradients(t - 1, named)[index]
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            m_hat = m / (1 - beta1**t)
            v_hat = v / (1 - beta2**t)
            x = x - rate(t - 1) * (m_hat / (np.sqrt(v_hat) + epsilon) + weight * x)
        results.append(x)
    return results


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_adamw(decay: float) -> None:
    named = parameters()
    expected = adamw_by_the_book(named, decay)
    run(AdamW(named, betas=(0.8, 0.95), epsilon=1e-6, weight_decay=decay), named)
    for (name, parameter), x in zip(named, expected, strict=True):
        np.testing.assert_allclose(parameter.data, x, rtol=1e-13, err_msg=name)


def sgd_by_the_book(
    named: Named, momentum: float, nesterov: bool, decay: float
) -> list[np.ndarray]:
    """The velocity as an explicit sum over all past gradients instead of a recurrence."""
    results = []
    for index, (name, parameter) in enumerate(named):
        x = parameter.data.copy()
        weight = decay if name == "matrix" else 0
        past: list[np.ndarray] = []
        for t in range(STEPS):
            past.append(gradients(t, named)[index] + weight * x)
            velocity = sum(momentum ** (t - i) * g for i, g in enumerate(past))
            x = x - rate(t) * (past[-1] + momentum * velocity if nesterov else velocity)
        results.append(x)
    return results


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd(momentum: float, nesterov: bool, decay: float) -> None:
    named = parameters()
    expected = sgd_by_the_book(named, momentum, nesterov, decay)
    run(SGD(named, momentum=momentum, nesterov=nesterov, weight_decay=decay), named)
    for (name, parameter), x in zip(named, expected, strict=True):
        np.testing.assert_allclose(parameter.data, x, rtol=1e-13, err_msg=name)


MAKERS: dict[str, Callable[[Named], Optimizer]] = {
    "adamw": lambda named: AdamW(named),
    "sgd": lambda named: SGD(named),
    "sgd with momentum": lambda named: SGD(named, momentum=0.9),
}


@pytest.mark.parametrize("name", ["adamw", "sgd with momentum"])
def test_equal_to_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    named = [entry for entry in parameters() if entry[0] == "matrix"]
    theirs = torch.tensor(named[0][1].data.copy(), requires_grad=True)
    their_optimizer = (
        torch.optim.AdamW([theirs], betas=(0.9, 0.99), weight_decay=0.1)
        if name == "adamw"
        else torch.optim.SGD([theirs], momentum=0.9)
    )
    for step in range(STEPS):
        theirs.grad = torch.tensor(gradients(step, named)[0])
        their_optimizer.param_groups[0]["lr"] = rate(step)
        their_optimizer.step()
    run(MAKERS[name](named), named)
    np.testing.assert_allclose(named[0][1].data, theirs.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", MAKERS)
def test_a_loaded_state_continues_bitwise(name: str) -> None:
    through = parameters()
    run(MAKERS[name](through), through)

    first = parameters()
    stopped = MAKERS[name](first)
    run(stopped, first, range(3))
    second = [(name, Parameter(p.data.copy(), p.grad.copy())) for name, p in first]
    resumed = MAKERS[name](second)
    resumed.load_state_dict({key: array.copy() for key, array in stopped.state_dict().items()})
    run(resumed, second, range(3, STEPS))
    for (key, a), (_, b) in zip(through, second, strict=True):
        np.testing.assert_array_equal(a.data, b.data, err_msg=key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("steps"), "has no 'steps', which this run needs"),
        (lambda state: state.update(strange=np.zeros(1)), "has 'strange', which this run does not"),
        (
            lambda state: state.update({"first_moment.vector": np.zeros(5)}),
            r"'first_moment.vector' has shape \(5,\) and dtype float64 in the saved state, but",
        ),
        (
            lambda state: state.update({"first_moment.vector": np.zeros(4, np.float32)}),
            "dtype float32 in the saved state, but",
        ),
    ],
)
def test_a_strange_state_is_refused_and_nothing_changed(
    change: Callable[[dict[str, np.ndarray]], object], message: str
) -> None:
    named = parameters()
    optimizer = AdamW(named)
    run(optimizer, named)
    before = {key: array.copy() for key, array in optimizer.state_dict().items()}
    strange = {key: array + 1 for key, array in before.items()}
    change(strange)
    with pytest.raises(StateError, match=message):
        optimizer.load_state_dict(strange)
    for key, array in optimizer.state_dict().items():
        np.testing.assert_array_equal(array, before[key], err_msg=key)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdamW(parameters(), betas=(0.9, 1.0)), "betas"),
        (lambda: SGD(parameters(), momentum=1.0), "momentum"),
        (lambda: SGD(parameters(), nesterov=True), "nesterov needs a momentum"),
    ],
)
def test_wrong_numbers_are_refused(make: Callable[[], Optimizer], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_the_learning_rate_rises_linearly_and_falls_along_a_cosine() -> None:
    schedule = WarmupCosine(peak=2.0, warmup=4, steps=14, final_fraction=0.1)
    assert [schedule(step) for step in range(4)] == [0.5, 1.0, 1.5, 2.0]
    assert schedule(4) == 2.0
    assert schedule(9) == pytest.approx(1.1)  # half way between 2 and 0.2
    assert schedule(14) == schedule(100) == pytest.approx(0.2)
    falling = [schedule(step) for step in range(4, 15)]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize(("warmup", "steps"), [(0, 1), (5, 5), (5, 3)])
def test_a_run_as_short_as_its_warmup(warmup: int, steps: int) -> None:
    schedule = WarmupCosine(peak=1.0, warmup=warmup, steps=steps)
    assert all(0 < schedule(step) <= 1 for step in range(steps + 3))


def test_pieces_are_not_stepped_on_without_their_data_parallelism() -> None:
    """Other ranks, or the model, would never get the new values."""
    whole = Parameter(np.ones(4, np.float32), np.ones(4, np.float32))
    piece = Piece(whole, 0, 2, data=whole.data[:2], grad=whole.grad[:2])
    optimizer = SGD([("weight", piece)])
    with pytest.raises(RuntimeError, match=r"call DataParallel\.step"):
        optimizer.step(0.1)
    assert (whole.data == 1).all()
    with pytest.raises(ValueError, match=r"pass counted=DataParallel\.counted"):
        clip_gradients([("weight", piece)], 1.0)
