"""What all kinds of calls share: from arguments to the native core and back."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, TypeVar, cast

from pycoll import _core

Op: TypeAlias = Literal["sum", "prod", "min", "max", "avg", "band", "bor", "bxor"]
Method = TypeVar("Method", bound=Callable[..., Any])


def shortcut(method: Method) -> Method:
    """Let a method of a `Caller` that makes one call go straight to the core when it is repeated.

    What it passes on must depend on nothing but its arguments: of arrays, which they are, their
    type and length.
    """
    wrapper = _core.Shortcut(method)
    functools.update_wrapper(wrapper, method)
    return cast(Method, wrapper)


class Caller:
    """The part of a communicator that makes calls."""

    # Shortcuts find the slot without a look at the names of attributes. (Hence no class can inherit
    # from a communicator and from another class that has slots or is built in.)
    __slots__ = ("__dict__", "__weakref__", "_call")

    rank: int
    size: int
    _core: _core.Communicator
    #: Makes collective calls: see csrc/bindings/call_function.hpp.
    _call: Callable[..., Any]

    def _root(self, function: str, root: int) -> int:
        """Return ``root`` as an int; it decides which arrays a rank has to pass."""
        # To prepare for an error takes longer than a short call.
        if type(root) is int and 0 <= root < self.size:
            return root
        with self._naming(function):
            return integer("root", root, 0, self.size - 1)

    @contextmanager
    def _naming(self, function: str) -> Iterator[None]:
        """Say in errors about arguments which rank and which function raises them."""
        try:
            yield
        except TypeError as error:
            raise TypeError(f"rank {self.rank}: {function}: {error}") from None
        except ValueError as error:
            raise ValueError(f"rank {self.rank}: {function}: {error}") from None
        except _core.CudaError as error:
            raise _core.CudaError(f"rank {self.rank}: {function}: {error}") from None


def integer(argument: str, value: int, least: int, most: int) -> int:
    """Return ``value`` as an int.

    Raises
    ------
    TypeError, ValueError
        When it is no integer, or not from ``least`` to ``most``.
    """
    try:
        found = operator.index(value)
    except TypeError:
        raise TypeError(f"{argument!r} is {value!r}; pass an integer") from None
    if not least <= found <= most:
        raise ValueError(f"{argument!r} is {value!r}; pass one from {least} to {most}")
    return found
