"""Sizes and times in words."""

from __future__ import annotations

import re

import pytest

from pycoll.planning.quantities import format_bytes, format_seconds, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("17", 17),
        ("17B", 17),
        ("64K", 64 << 10),
        ("64k", 64 << 10),
        ("1M", 1 << 20),
        ("1MiB", 1 << 20),
        ("1.5M", 3 << 19),
        (" 2 GiB ", 2 << 30),
        ("1T", 1 << 40),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1X", "1MB", "1e6", "0.3", "1.0001K", "1 2", "K1"])
def test_what_is_no_size_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 20, "1 MiB"), (5 << 38, "1.25 TiB")],
)
def test_sizes_are_written(size: int, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ns"), (3e-9, "3 ns"), (1.5e-6, "1.5 µs"), (0.012345, "12.3 ms"), (123.4, "123 s")],
)
def test_times_are_written(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
