"""How a run is spread over its ranks."""

from __future__ import annotations

from dataclasses import dataclass

from pycoll.train.mesh_shape import MeshShape


@dataclass(frozen=True)
class Parallelism:
    """In which ways ranks share the work; equal on all ranks.

    Attributes
    ----------
    dp : int, optional
        Copies of the model, each on its share of every batch; by default as many as the ranks
        suffice for.
    tp : int
        Ranks among which each weight matrix is split.
    pp : int
        Stages among which the layers are shared out.
    sequence_parallel : bool
        Whether the ranks of a tensor group also share out the positions between split layers.
    schedule : {"1f1b", "gpipe", "interleaved"}
        Of the pipeline's stages.
    chunks : int
        Parts of the model per stage: at least 2 for "interleaved", else 1.
    recompute : bool
        Whether the backward pass computes the activations of a block again, which takes less memory
        and more time.
    """

    dp: int | None = None
    tp: int = 1
    pp: int = 1
    sequence_parallel: bool = False
    schedule: str = "1f1b"
    chunks: int = 1
    recompute: bool = False

    def shape(self, ranks: int) -> MeshShape:
        """Return the mesh on so many ranks.

        Raises
        ------
        ValueError
            When they cannot be laid out so; it names shapes that would do.
        """
        MeshShape(tp=self.tp, pp=self.pp)  # refuses numbers below 1
        copies = max(1, ranks // (self.tp * self.pp)) if self.dp is None else self.dp
        shape = MeshShape(copies, self.tp, self.pp)
        shape.require_ranks(ranks)
        return shape
