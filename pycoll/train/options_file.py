"""Options of a command line from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any


def arguments_in(text: str) -> list[str]:
    r"""Return the command-line arguments that a TOML text stands for.

    A key is the name of an option without the dashes in front; ``true`` stands for a switch that is
    given, ``false`` for one that is not. Tables are for the reader: their names mean nothing.

    Raises
    ------
    ValueError
        When the text is no TOML, or a value is no number, string or truth value.

    Examples
    --------
    >>> arguments_in("steps = 200\n[model]\ntied = true\nwidth = 64")
    ['--steps=200', '--tied', '--width=64']
    """
    arguments = []
    for key, value in _entries(tomllib.loads(text)):
        if value is False:
            continue
        if value is True:
            arguments.append(f"--{key}")
        elif isinstance(value, int | float | str):
            arguments.append(f"--{key}={value}")
        else:
            raise ValueError(f"{key} is {value!r}; it must be a number, a string, true or false")
    return arguments


def _entries(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _entries(value)
        else:
            yield key, value
