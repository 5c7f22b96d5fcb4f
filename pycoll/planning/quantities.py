"""Sizes and times as people write and read them."""

from __future__ import annotations

import math
import re

_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[KMGT]?)(i?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int:
    """Return the bytes that a size such as ``64K``, ``1.5M`` or ``1MiB`` stands for.

    K, M, G and T are powers of 1024, as in the tools that measure collectives.

    Raises
    ------
    ValueError
        When it is no size, or no whole number of bytes.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or re.search(r"[KMGT]B", text, re.IGNORECASE):
        raise ValueError(f"{text!r} is not a size; write bytes, or 64K, 1.5M or 1MiB (K is 1024)")
    size = float(match["number"]) * _UNITS[match["unit"].upper()]
    if not size.is_integer():
        raise ValueError(f"{text!r} is not a whole number of bytes")
    return int(size)


def format_bytes(size: float) -> str:
    """Return a size in the largest unit that leaves at least 1: ``1.5 MiB``."""
    for unit, width in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= width:
            return f"{_short(size / width)} {unit}"
    return f"{_short(size)} B"


def format_seconds(seconds: float) -> str:
    """Return a time in the largest unit that leaves at least 1: ``12.3 µs``."""
    for unit, width in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= width:
            return f"{_short(seconds / width)} {unit}"
    return f"{_short(seconds / 1e-9)} ns"


def _short(value: float) -> str:
    """Three significant digits, but no fewer than the whole number has, and no idle zeros."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
