"""Which algorithms a user wants where a call leaves the choice to pycoll."""

from __future__ import annotations

from collections import defaultdict

from pycoll import _core

SWITCH = "PYCOLL_ALGORITHM"


def wishes_in(text: str) -> dict[str, str]:
    """Return the algorithm wanted for each collective that a text names.

    Parameters
    ----------
    text : str
        Such as "ring", for every collective that has an algorithm of that name, or
        "all_reduce:ring,broadcast:binomial"; what comes later counts. "auto" wants none.

    Raises
    ------
    ValueError
        When a collective or an algorithm is not known.
    """
    having: dict[str, list[str]] = defaultdict(list)
    for algorithm in _core.algorithms():
        having[algorithm.name].append(algorithm.collective)
    wishes: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        collective, colon, name = (part.strip() for part in item.rpartition(":"))
        if colon and collective not in _core.COLLECTIVES:
            raise ValueError(
                f"{SWITCH} is {text!r}, and there is no collective {collective!r}; write one of "
                f"{', '.join(_core.COLLECTIVES)}"
            )
        wanted = [collective] if colon else list(_core.COLLECTIVES)
        if name != "auto":
            able = [each for each in wanted if each in having[name]]
            if not able:
                names = (name for name, served in having.items() if set(served) & set(wanted))
                raise ValueError(
                    f"{SWITCH} is {text!r}, and there is no algorithm {name!r}"
                    f"{f' for {collective}' if colon else ''}; there are: {', '.join(names)}"
                )
            wanted = able
        for each in wanted:
            if name == "auto":
                wishes.pop(each, None)
            else:
                wishes[each] = name
    return wishes
