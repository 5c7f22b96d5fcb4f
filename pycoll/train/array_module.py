"""The array library that all layers compute with, chosen once per model.

Layers never say ``np.``: they use the ``xp`` they were built with, so that the same lines run on
the host (NumPy) and on a GPU (CuPy).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

#: An array of the chosen library. CuPy's arrays have the same methods, hence one name for both.
Array: TypeAlias = npt.NDArray[Any]


def array_module(device: str = "cpu") -> Any:
    """Return the array library for ``device``.

    Parameters
    ----------
    device : {"cpu", "cuda"}

    Returns
    -------
    module
        ``numpy`` or ``cupy``.

    Raises
    ------
    ValueError
        For any other device.
    ImportError
        For "cuda" when CuPy is not installed.
    """
    if device == "cpu":
        return np
    if device == "cuda":
        try:
            import cupy
        except ImportError as error:
            raise ImportError(
                "device 'cuda' needs CuPy: install the cupy package for your CUDA version "
                "(for example cupy-cuda12x), or use device 'cpu'"
            ) from error
        return cupy
    raise ValueError(f"unknown device {device!r}; choose 'cpu' or 'cuda'")


def use_device(device: str, local_rank: int) -> None:
    """Make sure that this rank can compute on ``device``; ranks of a host share out its GPUs.

    Raises
    ------
    ValueError
        For any device but "cpu" and "cuda".
    ImportError
        For "cuda" when CuPy is not installed.
    OSError
        For "cuda" when no GPU can be used.
    """
    xp = array_module(device)
    if device == "cpu":
        return
    try:
        count = xp.cuda.runtime.getDeviceCount()
    except xp.cuda.runtime.CUDARuntimeError as error:
        raise OSError(f"device 'cuda': no GPU can be used here ({error}); use 'cpu'") from error
    xp.cuda.Device(local_rank % count).use()


def array_module_of(array: Array) -> Any:
    """Return the library that ``array`` belongs to."""
    return np if isinstance(array, np.ndarray) else array_module("cuda")


def device_of(array: Array) -> str:
    """Return where ``array`` lies, as `Communicator.empty` takes it: "cpu" or "cuda"."""
    return "cpu" if isinstance(array, np.ndarray) else "cuda"


def as_numpy(array: Array) -> npt.NDArray[Any]:
    """Return ``array`` in host memory: itself for NumPy, a copy for CuPy."""
    return array if isinstance(array, np.ndarray) else array.get()
