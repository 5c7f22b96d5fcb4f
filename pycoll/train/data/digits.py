"""Handwritten digits: a small task of classification that needs no download.

1797 images of 8 x 8 pixels, from 0 to 16, by 13 writers: the test set of "Optical Recognition of
Handwritten Digits" by E. Alpaydin and C. Kaynak, UCI Machine Learning Repository (1998),
https://doi.org/10.24432/C50P49, licensed under CC BY 4.0 (Creative Commons Attribution 4.0
International). ``digits.npz`` holds its pixels and classes unchanged, compressed.
"""

from __future__ import annotations

from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# The images lie in the order of their writers: shuffled, so that both parts have some of each.
_SEED = 0
_TEST_IMAGES = 360


class Images(NamedTuple):
    """Images and what they show.

    Attributes
    ----------
    pixels : Array
        Shape ``(images, 64)``, float32, from 0 to 1.
    classes : Array
        Shape ``(images,)``, integers from 0 to 9.
    """

    pixels: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]


def load_digits() -> tuple[Images, Images]:
    """Return 1437 images to train with and 360 to test with, always the same ones."""
    with resources.files(__package__).joinpath("digits.npz").open("rb") as file:
        content: Any = np.load(file)
        pixels = content["images"].astype(np.float32) / 16
        classes = content["classes"].astype(np.int64)
    order = np.random.default_rng(_SEED).permutation(len(classes))
    train, test = order[_TEST_IMAGES:], order[:_TEST_IMAGES]
    return Images(pixels[train], classes[train]), Images(pixels[test], classes[test])
