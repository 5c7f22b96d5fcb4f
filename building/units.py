"""Compiling several source files at once: more than half of the time goes to headers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Folders whose files have other names in their unnamed namespaces.
TOGETHER = ("csrc/bindings", "csrc/device/cuda", "csrc/engine", "csrc/schedule", "csrc/transport")
#: A whole build takes 157 s of 2 cores where each is compiled alone, 88 s like this.
MOST = 5


def joined(sources: Iterable[str], output: Path) -> list[str]:
    """Return what to compile in place of some sources, written below a folder where need be.

    Parameters
    ----------
    sources : iterable of str
        Paths, relative to the root of the repository.
    """
    left = list(sources)
    units = []
    for folder in TOGETHER:
        inside = [source for source in left if source.startswith(f"{folder}/")]
        left = [source for source in left if source not in inside]
        for number, files in enumerate(_in_parts(inside)):
            unit = output / f"{folder.replace('/', '_')}_{number}.cpp"
            unit.write_text("".join(f'#include "{ROOT / file}"\n' for file in files))
            units.append(os.path.relpath(unit, ROOT))
    return units + left


def _in_parts(files: Sequence[str]) -> list[Sequence[str]]:
    return [files[first : first + MOST] for first in range(0, len(files), MOST)]
