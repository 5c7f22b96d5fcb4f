"""What one stage of a pipeline does, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

StepKind: TypeAlias = Literal[
    "forward",
    "backward",
    "send_activation",
    "recv_activation",
    "send_gradient",
    "recv_gradient",
]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a stage does.

    The layers of a model are cut into ``stages * chunks`` parts. Chunk ``c`` of stage ``s`` is part
    ``c * stages + s``: with several chunks a micro-batch goes round all stages once per chunk.

    Attributes
    ----------
    kind : str
        Compute ("forward", "backward"), or a message: the activations that a part passes to the
        next one, or the gradients that come back. A message is on its way from its "send" on while
        the stage goes on; its "recv" is where the stage needs it.
    micro_batch, chunk : int
        What it computes, or sends the result of, or receives the input for.
    peer : int, optional
        The stage at the other end of a message.
    """

    kind: StepKind
    micro_batch: int
    chunk: int = 0
    peer: int | None = None

    def __str__(self) -> str:
        what = f"{self.kind.replace('_', ' ')} {self.micro_batch}"
        if self.chunk:
            what += f", chunk {self.chunk}"
        if self.peer is not None:
            what += f" {'to' if self.kind.startswith('send') else 'from'} stage {self.peer}"
        return what

    @property
    def is_message(self) -> bool:
        """Whether it sends or receives."""
        return self.peer is not None
