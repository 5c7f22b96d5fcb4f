"""The package bench/compare, which lies beside the library, for its tests."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace

from launching import ROOT


def compare_modules(*names: str) -> SimpleNamespace:
    """Return modules of the package by name."""
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        modules = {name: importlib.import_module(f"compare.{name}") for name in names}
    finally:
        sys.path.remove(str(ROOT / "bench"))
    return SimpleNamespace(**modules)
