"""Loads the native core that was built for the MPI which runs this process."""

from __future__ import annotations

from pycoll._core._loading import load_core

_native = load_core()
globals().update({name: value for name, value in vars(_native).items() if name[0] != "_"})
