"""A plan as a picture."""

from pycoll.planning.picture.draw import draw

__all__ = ["draw"]
