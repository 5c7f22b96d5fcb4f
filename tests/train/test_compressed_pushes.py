"""What compression keeps of gradients, and that error feedback loses nothing for good."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pycoll.train.ps.compression import Compression, EightBit, ErrorFeedback, TopK

KINDS = [TopK(1.0), TopK(0.1), TopK(1e-9), EightBit(), EightBit(3), EightBit(1)]


def through(compression: Compression, gradients: np.ndarray) -> np.ndarray:
    message = np.empty(compression.length(gradients.size, gradients.dtype), np.uint8)
    compression.encode(gradients, message)
    decoded = np.full_like(gradients, 99)
    compression.decode(message, decoded)
    return decoded


def some(count: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(count).standard_normal(count).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 10, 257, 1000])
def test_top_k_keeps_the_greatest_exactly(count: int, dtype: str) -> None:
    gradients = some(count, dtype)
    for fraction, kept in ((1.0, count), (0.1, max(1, round(0.1 * count))), (1e-9, 1)):
        decoded = through(TopK(fraction), gradients)
        assert np.count_nonzero(decoded) == kept
        np.testing.assert_array_equal(decoded[decoded != 0], gradients[decoded != 0])
        left_out = np.abs(gradients[decoded == 0]).max(initial=0)
        assert left_out <= np.abs(decoded[decoded != 0]).min()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 10, 257, 1000])
@pytest.mark.parametrize("block", [1, 3, 256])
def test_eight_bits_are_off_by_half_a_step_of_the_block_at_most(
    count: int, dtype: str, block: int
) -> None:
    gradients = some(count, dtype)
    gradients[: block // 2] = 0
    error = np.abs(through(EightBit(block), gradients) - gradients)
    for start in range(0, count, block):
        greatest = np.abs(gradients[start : start + block]).max()
        assert error[start : start + block].max() <= greatest / 127 / 2 * (1 + 1e-5)


@pytest.mark.parametrize("compression", [TopK(1.0), TopK(0.1), EightBit(), EightBit(3)])
def test_error_feedback_sends_everything_in_the_end(compression: Compression) -> None:
    """After 400 equal gradients, what was left out is worth some steps at most, though only one in
    ten is sent each time.
    """
    count, steps = 300, 400
    gradients = some(count, "float64")
    feedback = ErrorFeedback(compression, count, gradients.dtype)
    sent = np.zeros(count)
    for _ in range(steps):
        decoded = np.empty(count)
        compression.decode(feedback.encode(gradients), decoded)
        sent += decoded
    assert np.abs(sent - steps * gradients).max() < 20 * np.abs(gradients).max()


@pytest.mark.parametrize("compression", KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_arrives_as_such(compression: Compression, bad: float) -> None:
    gradients = some(300)
    gradients[123] = bad
    assert not np.isfinite(through(compression, gradients)[123])


@pytest.mark.parametrize("compression", KINDS)
def test_zeros_stay_zeros(compression: Compression) -> None:
    np.testing.assert_array_equal(through(compression, np.zeros(300)), np.zeros(300))


def test_messages_are_shorter() -> None:
    """As documented: an eighth of the gradients with their places; a byte each and a scale."""
    float32: np.dtype[Any] = np.dtype("float32")
    assert TopK(0.125).length(4096, float32) == 512 * 8
    assert EightBit(256).length(4096, float32) == 4096 + 16 * 4


@pytest.mark.parametrize("make", [lambda: TopK(0), lambda: TopK(1.1), lambda: EightBit(0)])
def test_wrong_settings_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        make()
