"""The global norm over all axes of a mesh: every parameter counts once."""

from __future__ import annotations

import numpy as np
import pytest

import pycoll
from pycoll.train import (
    GPT,
    GPTConfig,
    GradientNormError,
    Initializer,
    Mesh,
    TensorGroup,
    clip_gradients,
)

comm = pycoll.world()

# pp, and tp where that is left.
PP = 2 if comm.size % 2 == 0 else 1
TP = 2 if comm.size % 4 == 0 else 1


@pytest.mark.parametrize("sequence_parallel", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_parts_of_gradients_have_the_norm_of_the_whole(tied: bool, sequence_parallel: bool) -> None:
    """A tied model has a copy of its embedding on the last stage, which does not count."""
    mesh = Mesh(comm, dp=comm.size // PP // TP, tp=TP, pp=PP)
    config = GPTConfig(11, context=6, width=8, heads=2, layers=2, tied=tied)
    gradients: dict[str, np.ndarray] = {}
    generator = np.random.default_rng(3)
    for name, parameter in GPT(config, Initializer(0)).named_parameters():
        gradients[name] = generator.standard_normal(parameter.data.shape).astype(np.float32)

    layers = len(GPT.layer_names(config))
    cuts = [0, 2, layers] if PP == 2 else [0, layers]
    part = range(cuts[mesh.pp.rank], cuts[mesh.pp.rank + 1])
    tensor = TensorGroup(mesh.tp, sequence_parallel=sequence_parallel)
    named = GPT(config, Initializer(0), tensor, part=part).named_parameters()
    whole = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradients.values()))
    own = {
        name: gradients[name] if p.shard is None else p.shard.part_of(gradients[name])
        for name, p in named
    }
    for name, parameter in named:
        parameter.grad[...] = own[name]
    assert clip_gradients(named, whole / 4, mesh) == pytest.approx(whole, rel=1e-12)
    for name, parameter in named:
        np.testing.assert_allclose(parameter.grad, own[name] / 4, rtol=1e-6, err_msg=name)

    # Each rank of dp has every dp-th of them only, as with a sharded optimizer.
    mine = named[mesh.dp.rank :: mesh.dp.size]
    assert clip_gradients(mine, whole, mesh, counted=mine) == pytest.approx(whole / 4, rel=1e-6)


def test_a_gradient_that_is_no_number_on_one_rank_is_an_error_on_all() -> None:
    mesh = Mesh(comm, tp=comm.size)
    config = GPTConfig(11, context=6, width=8 * comm.size, heads=comm.size, layers=1)
    named = GPT(config, Initializer(0), TensorGroup(mesh.tp)).named_parameters()
    if comm.rank == comm.size - 1:
        dict(named)["blocks.0.attention.qkv.weight"].grad[0, 0] = np.nan
    with pytest.raises(GradientNormError, match="the norm of the gradients is nan"):
        clip_gradients(named, 1.0, mesh)
