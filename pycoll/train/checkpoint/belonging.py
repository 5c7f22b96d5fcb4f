"""Whether a checkpoint belongs to the run that wants to resume from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pycoll.train.checkpoint.manifest import CheckpointError


def require_same(path: Path, description: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse a checkpoint whose description differs from ``expected`` in any of its entries.

    Raises
    ------
    CheckpointError
        It names the checkpoint and the first entry that differs.
    """
    for name, here in expected.items():
        there = description.get(name)
        if there != here:
            raise CheckpointError(
                f"{path} is a checkpoint of another {name}: {_difference(there, here)}; "
                f"resume with the {name} it was made with"
            )


def changed_settings(description: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Return one line per setting that differs; such a run goes on, but is another run."""
    before = description.get("settings", {})
    return [
        f"{name} is now {settings[name]!r}, was {before.get(name)!r}"
        for name in settings
        if settings[name] != before.get(name)
    ]


def _difference(there: Any, here: Any) -> str:
    if isinstance(there, dict) and isinstance(here, dict):
        parts = [
            f"{key} is {there.get(key)!r} there but {here.get(key)!r} here"
            for key in sorted(there.keys() | here.keys())
            if there.get(key) != here.get(key)
        ]
        return ", ".join(parts)
    return f"{_shortened(there)} there but {_shortened(here)} here"


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}... ({len(value)} long)"
