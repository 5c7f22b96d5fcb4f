"""How layers are shared out among stages."""

from __future__ import annotations

from itertools import combinations, pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_pipeline import LAYERS, Part

from pycoll.train import GPT, GPTConfig, Initializer, TensorGroup
from pycoll.train.pipeline_parallel.layer_costs import parameter_costs
from pycoll.train.pipeline_parallel.shared_parameters import find_peers
from pycoll.train.pipeline_parallel.split import partition, split_layers


def all_ways(count: int, parts: int) -> list[list[range]]:
    return [
        [range(start, stop) for start, stop in pairwise((0, *cuts, count))]
        for cuts in combinations(range(1, count), parts - 1)
    ]


def score(costs: list[int], parts: list[range]) -> tuple[int, int]:
    sums = [sum(costs[index] for index in part) for part in parts]
    return max(sums), sum(each * each for each in sums)


@given(costs=st.lists(st.integers(0, 20), min_size=1, max_size=9), parts=st.integers(1, 9))
def test_no_other_way_is_better(costs: list[int], parts: int) -> None:
    """Of all ways, by brute force: the least maximum, and of those the least sum of squares."""
    parts = min(parts, len(costs))
    found = partition(costs, parts)
    assert found in all_ways(len(costs), parts)
    assert score(costs, found) == min(score(costs, way) for way in all_ways(len(costs), parts))


def test_costs_may_be_seconds() -> None:
    """Fractions, whose sums round."""
    assert partition([0.1] * 10, 5) == [range(start, start + 2) for start in range(0, 10, 2)]
    assert partition([0.1, 0.2, 0.3, 0.3, 0.2, 0.1], 2) == [range(0, 3), range(3, 6)]


def test_an_expensive_layer_is_alone() -> None:
    assert partition([1, 1, 9, 1, 1, 1], 3) == [range(0, 2), range(2, 3), range(3, 6)]


@pytest.mark.parametrize(
    ("layers", "stages", "chunks", "message"),
    [
        (3, 4, 1, "3 layers cannot be shared out among 4 stages: use at most 3 stages, or a model"),
        (7, 4, 2, "4 stages of 2 chunks each: use at most 3 stages of 2 .*, or at most 1 chunk"),
        (0, 1, 1, "0 layers .* 1 stages?: use a model of at least 1 layers?"),
    ],
)
def test_too_few_layers_are_refused(layers: int, stages: int, chunks: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_layers([1.0] * layers, stages, chunks)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_costs_that_make_no_sense_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="costs must be finite and not negative"):
        partition([1.0, wrong, 1.0], 2)


def test_parameters_are_counted_by_layer() -> None:
    """In parts alone they are as many as in the whole model, where nothing is shared."""
    costs = parameter_costs(lambda part: Part(part, tied=False), LAYERS)
    whole = Part(range(LAYERS), tied=False)
    assert sum(costs) == sum(p.data.size for _, p in whole.named_parameters())
    assert costs[:2] == [11 * 8, 6 * 8]
    assert len({*costs[2:-2]}) == 1


def test_ranks_of_a_tensor_group_share_out_the_same_layers() -> None:
    """37 tokens and 42 hidden units make parts of different sizes, by which they would differ."""
    config = GPTConfig(37, context=32, width=16, heads=2, layers=4, activation="swiglu")
    layers = len(GPT.layer_names(config))
    costs, sizes = [], []
    for rank in range(2):
        comm: Any = SimpleNamespace(rank=rank, size=2)
        tensor = TensorGroup(comm)

        def make_part(part: range, tensor: TensorGroup = tensor) -> GPT:
            return GPT(config, Initializer(0), tensor, part=part)

        costs.append(parameter_costs(make_part, layers))
        sizes.append(sum(p.data.size for _, p in make_part(range(layers)).named_parameters()))
    assert sizes[0] > sizes[1]
    assert costs[0] == costs[1]


@pytest.mark.parametrize("tied", [False, True])
def test_parts_have_the_names_and_values_of_the_whole(tied: bool) -> None:
    """What the other tests of pipelines rest on."""
    whole = dict(Part(range(LAYERS), tied=tied).named_parameters())
    found = {}
    for part in partition([1.0] * LAYERS, 3):
        found.update(Part(part, tied=tied).named_parameters())
    assert found.keys() == whole.keys()
    for name, parameter in found.items():
        np.testing.assert_array_equal(parameter.data, whole[name].data, err_msg=name)


def test_stages_that_share_a_parameter_know_of_each_other() -> None:
    names = [["tokens.weight", "a"], ["b"], ["c", "tokens.weight"]]
    assert find_peers(names, 0) == {"tokens.weight": 2}
    assert find_peers(names, 1) == {}
    assert find_peers(names, 2) == {"tokens.weight": 0}


@pytest.mark.parametrize(
    ("names", "stages"), [([["w"], ["w"], ["w"]], "0, 1, 2"), ([["w", "w"], ["v"]], "0, 0")]
)
def test_a_parameter_in_too_many_parts_is_refused(names: list[list[str]], stages: str) -> None:
    with pytest.raises(ValueError, match=f"w would be in parts of the model on stages {stages};"):
        find_peers(names, 0)
