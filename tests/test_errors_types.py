"""The exceptions, as programs catch them."""

from __future__ import annotations

import builtins
import pickle

import pytest

import pycoll


@pytest.mark.parametrize("error", [pycoll.CollectiveError, pycoll.TimeoutError])
def test_where_they_live(error: type[Exception]) -> None:
    """They are called by the names under which users find them, and can be sent to others."""
    assert error.__module__ == "pycoll"
    assert getattr(pycoll, error.__name__) is error
    copy = pickle.loads(pickle.dumps(error("rank 3: ...")))
    assert type(copy) is error
    assert str(copy) == "rank 3: ..."


def test_what_they_are() -> None:
    """A timeout is a failed operation, and what Python calls a timeout."""
    assert issubclass(pycoll.CollectiveError, RuntimeError)
    assert issubclass(pycoll.TimeoutError, pycoll.CollectiveError)
    assert issubclass(pycoll.TimeoutError, builtins.TimeoutError)
    assert not issubclass(pycoll.CollectiveError, builtins.TimeoutError)
    assert issubclass(pycoll.MPIMismatchError, ImportError)
