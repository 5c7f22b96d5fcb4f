"""What every optimizer is: a step, and a state that can be saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from pycoll.train.array_module import Array
from pycoll.train.data_parallel.piece import Piece
from pycoll.train.layers.parameter import Parameter
from pycoll.train.state import load_state


class Optimizer(ABC):
    """Change parameters by their gradients.

    Subclasses put every array that a resumed run needs into ``self._state``: under
    ``kind.parameter`` where each element belongs to one of the parameter, and under a name without
    a dot otherwise. They treat each element by itself: an optimizer may be given parts of
    parameters.

    Parameters
    ----------
    parameters : sequence of (str, Parameter)
        As `Layer.named_parameters` returns them.
    weight_decay : float
        Applied to matrices only: gains, biases and other vectors are not decayed.
    """

    def __init__(self, parameters: Sequence[tuple[str, Parameter]], weight_decay: float) -> None:
        self.parameters = list(parameters)
        self._by_name = dict(self.parameters)
        self.weight_decay = weight_decay
        self._state: dict[str, Array] = {}

    @abstractmethod
    def updates(self, learning_rate: float) -> Iterator[Parameter]:
        """Update all parameters in place from their gradients, one after the other.

        Yields
        ------
        Parameter
            The one that has just been updated: it may be sent while the next one is worked on.
        """

    def step(self, learning_rate: float) -> None:
        """Update all parameters in place from their gradients.

        Raises
        ------
        RuntimeError
            For pieces of parameters, whose new values other ranks need, too: `DataParallel.step`
            sends them.
        """
        if any(isinstance(parameter, Piece) for _, parameter in self.parameters):
            raise RuntimeError(
                "these parameters are pieces of a model's, whose new values must reach it: call "
                "DataParallel.step(optimizer, learning_rate) instead of optimizer.step"
            )
        for _ in self.updates(learning_rate):
            pass

    def decay_of(self, parameter: Parameter) -> float:
        """Return the weight decay of one parameter."""
        return self.weight_decay if parameter.is_matrix else 0.0

    def parameter_of(self, state: str) -> Parameter | None:
        """Return the parameter, element by element, to which an entry of the state belongs.

        None for an entry that belongs to the optimizer as a whole, such as a count of steps.
        """
        return self._by_name.get(state.partition(".")[2])

    def state_dict(self) -> dict[str, Array]:
        """Return the state by name: the arrays themselves, not copies."""
        return dict(self._state)

    def load_state_dict(self, state: dict[str, Array]) -> None:
        """Copy a saved state into this optimizer.

        Raises
        ------
        StateError
            When names, shapes or dtypes differ. The optimizer is then unchanged.
        """
        load_state(self._state, state)
