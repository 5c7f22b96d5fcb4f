"""Colours for pieces of data, on white."""

from __future__ import annotations

import math

INK = "#1f2430"
FAINT_INK = "#6b7280"
GRID = "#e5e7eb"
PAPER = "#ffffff"
LANE = "#f3f4f6"
SIGNAL = {"stroke": "#9aa1ad", "stroke_width": 0.8, "stroke_dasharray": "2 2"}
DASHES = {"stroke_dasharray": "6 2.5"}


def colour(index: int, total: int) -> str:
    """Return the ``index``-th of ``total`` colours, spread over the hues at similar brightness.

    With many, neighbours also differ in brightness.
    """
    lightness = 0.63
    if total > 8:
        lightness += 0.09 if index % 2 else -0.08
    return _from_oklch(lightness, 0.15, math.tau * (index / max(total, 1) + 0.07))


def tint(of: str, share: float) -> str:
    """Return a colour mixed with white: ``share`` 1 is the colour itself, 0 white."""
    channels = (int(of[start : start + 2], 16) for start in (1, 3, 5))
    return _hex(*(255 + (channel - 255) * share for channel in channels))


def _from_oklch(lightness: float, chroma: float, hue: float) -> str:
    """Convert from OKLCH, in which equal steps look equal (Ottosson 2020, the OKLab matrices)."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return _hex(*(255 * _gamma(min(max(value, 0.0), 1.0)) for value in linear))


def _gamma(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def _hex(red: float, green: float, blue: float) -> str:
    return f"#{round(red):02x}{round(green):02x}{round(blue):02x}"
