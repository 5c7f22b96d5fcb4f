"""Named arrays that make up the state of a run, and the strict way to load them."""

from __future__ import annotations

from collections.abc import Mapping

from pycoll.train.array_module import Array, array_module_of


class StateError(ValueError):
    """A saved state is of something else than what it is loaded into."""


def load_state(own: Mapping[str, Array], saved: Mapping[str, Array]) -> None:
    """Copy every array of ``saved`` into the array of the same name in ``own``.

    Raises
    ------
    StateError
        When names, shapes or dtypes differ. Nothing has been copied then.
    """
    for name in sorted(own.keys() | saved.keys()):
        if name not in saved:
            raise StateError(f"the saved state has no {name!r}, which this run needs")
        if name not in own:
            raise StateError(f"the saved state has {name!r}, which this run does not know")
        if saved[name].shape != own[name].shape or saved[name].dtype != own[name].dtype:
            raise StateError(
                f"{name!r} has shape {saved[name].shape} and dtype {saved[name].dtype} in the "
                f"saved state, but {own[name].shape} and {own[name].dtype} here"
            )
    for name, array in own.items():
        array[...] = array_module_of(array).asarray(saved[name])
