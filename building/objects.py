"""Object files that cores for several MPIs have in common: they are compiled once."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
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


@contextmanager
def alone(output: Path = OUTPUT) -> Iterator[None]:
    """Keep other builds of this checkout from the object files while they are made and used."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kept_objects(
    digest: str, compile_into: Callable[[Path], object], output: Path = OUTPUT
) -> list[str]:
    """Return the object files that go by a digest, made now if they were not before.

    Those that go by others are removed. To be called, and the result to be used, in `alone`.

    Parameters
    ----------
    digest : str
        Of all that they depend on, as `digest_of` returns it.
    compile_into : callable
        Makes them, anywhere below a folder.
    """
    kept = output / digest
    if not kept.exists():
        for old in output.iterdir():
            if old.is_dir():
                shutil.rmtree(old)
        # Where a build that fails, or is broken off, leaves what it has made.
        unfinished = output / "unfinished"
        unfinished.mkdir()
        compile_into(unfinished)
        unfinished.rename(kept)
    return sorted(str(path) for path in kept.rglob("*.o"))
