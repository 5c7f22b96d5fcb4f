"""Softmax over the last axis, and its derivative, both in place."""

from __future__ import annotations

from typing import Any

from pycoll.train.array_module import Array


def softmax_in_place(xp: Any, x: Array) -> Array:
    """Replace ``x`` by ``exp(x) / sum(exp(x))``; minus infinity gives 0.

    Returns
    -------
    Array
        ``x`` itself.
    """
    x -= x.max(axis=-1, keepdims=True)
    xp.exp(x, out=x)
    x /= x.sum(axis=-1, keepdims=True)
    return x


def softmax_backward_in_place(xp: Any, y: Array, dy: Array) -> Array:
    """Replace ``dy`` by the gradient with respect to the argument of ``y = softmax(x)``.

    Returns
    -------
    Array
        ``dy`` itself, now ``y * (dy - sum(y * dy))``.
    """
    dy -= xp.einsum("...i,...i->...", y, dy)[..., None]
    dy *= y
    return dy
