"""Numbers of a run as JSON lines, for other programs to read."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any


class MetricsFile:
    """Append one JSON object per line; each has the key ``step``.

    Parameters
    ----------
    path : Path
    resumed_at : int
        Steps that the run had finished when it was resumed, 0 for a new run. Lines of an earlier
        run up to this step are kept, later ones dropped: those steps are about to be made again.

    Attributes
    ----------
    lines : list of dict
        Everything in the file, for the loss picture.
    """

    def __init__(self, path: Path, resumed_at: int = 0) -> None:
        self.lines: list[dict[str, Any]] = []
        if resumed_at and path.exists():
            earlier = map(_parsed, path.read_text(encoding="utf-8").splitlines())
            self.lines = [line for line in earlier if line.get("step", math.inf) <= resumed_at]
        rewritten = path.with_name(f".{path.name}.{os.getpid()}")
        rewritten.write_text("".join(map(_text, self.lines)), encoding="utf-8")
        os.replace(rewritten, path)
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, step: int, **numbers: float) -> None:
        """Add one line and hand it to the operating system."""
        line = {"step": step, **numbers}
        self.lines.append(line)
        self._file.write(_text(line))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _text(line: dict[str, Any]) -> str:
    return json.dumps(line) + "\n"


def _parsed(text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError:
        return {}  # the last line of a run that was killed while it wrote
    return line if isinstance(line, dict) else {}
