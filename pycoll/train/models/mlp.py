"""A classifier of affine maps with an activation between them.

``h(l) = f(W(l) h(l-1) + b(l))``, without ``f`` after the last one. Layers are split among ranks in
pairs, the first by outputs and the second by inputs: Shoeybi et al., "Megatron-LM" (2019),
section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pycoll.train.layers.cross_entropy import CrossEntropy
from pycoll.train.layers.gelu import GELU
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.layer import Layer
from pycoll.train.layers.linear import Linear
from pycoll.train.models.chain import Chain
from pycoll.train.tensor_parallel.column_linear import ColumnLinear
from pycoll.train.tensor_parallel.row_linear import RowLinear
from pycoll.train.tensor_parallel.tensor_group import ALONE, TensorGroup


@dataclass(frozen=True)
class MLPConfig:
    """The shape of an `MLP`.

    Attributes
    ----------
    widths : tuple of int
        Numbers per example: of the input, after each affine map, and so of classes at the end.
    """

    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise ValueError(
                f"widths are {self.widths}; pass that of the input, those between, and the number "
                "of classes, each at least 1"
            )


class MLP(Chain):
    """Map examples ``(..., widths[0])`` to scores ``(..., widths[-1])``.

    Parameters
    ----------
    tensor : TensorGroup
        The ranks that hold the model together. All of them get all scores. Of an odd number of
        affine maps the last is not split: its few classes are not worth another exchange.
    part : range, optional
        Which of the layers, as `layer_names` numbers them, to make: a pipeline stage.
    """

    def __init__(
        self,
        config: MLPConfig,
        init: Initializer,
        tensor: TensorGroup = ALONE,
        *,
        part: range | None = None,
    ) -> None:
        if tensor.sequence_parallel:
            raise ValueError("an MLP has no sequences; make its group without sequence_parallel")
        self.config = config
        self.xp = init.xp
        count = len(config.widths) - 1

        def affine(number: int) -> Layer:
            own = init.named(f"linear_{number}")
            inputs, outputs = config.widths[number : number + 2]
            if number % 2 == 1:
                return RowLinear(own, inputs, outputs, tensor)
            if number + 1 < count:
                return ColumnLinear(own, inputs, outputs, tensor)
            return Linear(own, inputs, outputs)

        makers: dict[str, Callable[[], Layer]] = {}
        for name in self.layer_names(config):
            kind, _, number = name.partition("_")
            makers[name] = partial(affine, int(number)) if kind == "linear" else partial(GELU, init)
        super().__init__(makers, part)

    @staticmethod
    def layer_names(config: MLPConfig) -> list[str]:
        """Return the names of all layers, in their order."""
        count = len(config.widths) - 1
        names = [f"{kind}_{number}" for number in range(count) for kind in ("linear", "gelu")]
        return names[:-1]

    def criterion(self) -> CrossEntropy:
        """Return the loss function for the scores."""
        return CrossEntropy(self.xp)
