"""A progress bar beside the table."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self


class Progress:
    """Counts what has been measured on stderr, if tqdm is installed.

    Under mpirun no stream is a terminal, and yet there is somebody to read.
    """

    def __init__(self, total: int, *, shown: bool, unit: str = "size") -> None:
        self._bar: Any = None
        if not shown:
            return
        try:
            from tqdm import tqdm
        except ImportError:
            return
        self._bar = tqdm(total=total, unit=unit, leave=False, dynamic_ncols=True, mininterval=0.5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def doing(self, what: str) -> None:
        """Say what comes next."""
        if self._bar is not None:
            self._bar.set_description_str(what, refresh=True)

    def step(self) -> None:
        """Count one."""
        if self._bar is not None:
            self._bar.update()

    def write(self, line: str) -> None:
        """Print a line of the table without disturbing the bar."""
        if self._bar is not None:
            self._bar.clear()
        print(line, file=sys.stdout, flush=True)
        if self._bar is not None:
            self._bar.refresh()
