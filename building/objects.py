"""Object files that cores for several MPIs have in common: they are compiled once."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "build" / "objects"


def digest_of(settings: Sequence[str], sources: Iterable[Path]) -> str:
    """Return a digest of how something is compiled, and of all that it is compiled from."""
    digest = hashlib.sha256()
    for setting in settings:
        digest.update(setting.encode() + b"\0")
    for source in sorted(sources):
        digest.update(str(source).encode() + b"\0")
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()[:32]


def kept_objects(
    digest: str, compile_into: Callable[[Path], object], output: Path = OUTPUT
) -> list[str]:
    """Return the object files that go by a digest, made now if they were not before.

    Those that go by others are removed.

    Parameters
    ----------
    digest : str
        Of all that they depend on, as `digest_of` returns it.
    compile_into : callable
        Makes them, anywhere below a folder.
    """
    kept = output / digest
    if not kept.exists():
        # Another build may be at it, or be broken off.
        under_way = output / f"{digest}-{os.getpid()}"
        shutil.rmtree(under_way, ignore_errors=True)
        under_way.mkdir(parents=True)
        compile_into(under_way)
        for old in output.iterdir():
            if old != under_way and "-" not in old.name:
                shutil.rmtree(old, ignore_errors=True)
        under_way.rename(kept)
    return sorted(str(path) for path in kept.rglob("*.o"))
