"""Results of the benchmark are checked against exact values, and every planted error is found."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from pycoll import _core
from pycoll.bench.operands import Operands, Operation
from pycoll.bench.values import PERIOD, Values, numpy_type

COUNT = 3 * PERIOD + 17

# A fold in the type itself, in the order of the ranks; sums of halves are folded in float32.
FOLDS: dict[str, Any] = {
    "sum": np.add,
    "avg": np.add,
    "prod": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "band": np.bitwise_and,
    "bor": np.bitwise_or,
    "bxor": np.bitwise_xor,
}


@pytest.mark.parametrize("ranks", [1, 3, 8, 64])
@pytest.mark.parametrize(
    ("dtype", "op"),
    [pair for pair in product(_core.DTYPE_SIZES, _core.REDUCE_OPS) if _core.supports(*pair[::-1])],
)
def test_folding_in_either_order_gives_the_expected_bits(dtype: str, op: str, ranks: int) -> None:
    values = Values(dtype, op, ranks)
    rows = list(values.rows)
    with np.errstate(over="ignore"):
        for order in (rows, rows[::-1]):
            total = order[0]
            for row in order[1:]:
                total = FOLDS[op](total, row)
                assert total.dtype == numpy_type(dtype)
            if op == "avg":
                total = (total / numpy_type("float64").type(ranks)).astype(total.dtype)
            np.testing.assert_array_equal(total, values.folded)


@pytest.mark.parametrize("op", ["sum", "prod", "min", "max", "avg", "bxor"])
def test_every_rank_matters(op: str) -> None:
    """Leaving out one rank's contribution, or folding it twice, shows."""
    values = Values("int32", op, 8)
    fold = FOLDS[op]
    for rank in range(8):
        rest = fold.reduce(np.delete(values.rows, rank, axis=0), axis=0)
        divisor = 8 if op == "avg" else 1
        assert (rest // divisor != values.folded).any()
        if op not in ("min", "max"):  # there, twice is once
            assert (
                fold(fold.reduce(values.rows, axis=0), values.rows[rank]) != values.folded
            ).any()


def result(operation: Operation, rank: int, ranks: int) -> tuple[Operands, Any]:
    """Return operands and a right result, put together from the parts by hand."""
    operands = Operands(operation, rank, ranks)
    operands.fill()
    values = Values(operation.dtype, operation.op, ranks)
    pieces = []
    for part in operands.parts:
        period = values.folded if part.source is None else values.rows[part.source]
        pieces.append(np.resize(period, part.start + operation.count)[part.start :])
    return operands, np.concatenate(pieces) if pieces else None


@pytest.mark.parametrize("collective", [name for name in _core.COLLECTIVES if name != "barrier"])
def test_planted_errors_are_counted(collective: str) -> None:
    op = "sum" if "reduce" in collective else None
    operation = Operation(collective, "float32", op, 1, "plain", COUNT, in_place=False)
    for rank in range(3):
        operands, right = result(operation, rank, 3)
        if right is None:
            assert rank != 1
            continue
        assert operands.count_wrong(right) == 0
        for place in (0, COUNT // 2, right.size - 1):
            wrong = right.copy()
            wrong[place] += 1
            assert operands.count_wrong(wrong) == 1
        wrong = right.copy()
        wrong[5:10] = np.nan
        assert operands.count_wrong(wrong) == 5
        # Moved by a page: nearly nothing fits any more.
        assert operands.count_wrong(np.roll(right, 1024)) > 0.9 * right.size
        assert operands.count_wrong(None) == right.size


@pytest.mark.parametrize("collective", [name for name in _core.COLLECTIVES if name != "barrier"])
@pytest.mark.parametrize("in_place", [False, True])
def test_doing_nothing_is_wrong(collective: str, in_place: bool) -> None:
    op = "sum" if "reduce" in collective else None
    operation = Operation(collective, "float32", op, 1, "plain", COUNT, in_place)
    wrong = 0
    for rank in range(3):
        operands = Operands(operation, rank, 3)
        operands.fill()
        if operands.parts and operands.output is not None:
            wrong += operands.count_wrong(operands.output)
    assert wrong > COUNT / 2


@pytest.mark.parametrize("collective", ["all_gather", "reduce_scatter", "all_reduce"])
def test_in_place_means_the_ranks_own_part(collective: str) -> None:
    operation = Operation(collective, "float32", None, None, "plain", COUNT, in_place=True)
    operands = Operands(operation, 2, 4)
    assert operands.input is not None
    assert operands.output is not None
    inner, outer = sorted((operands.input, operands.output), key=len)
    offset = inner.__array_interface__["data"][0] - outer.__array_interface__["data"][0]
    assert offset == (0 if collective == "all_reduce" else 2 * COUNT * 4)
