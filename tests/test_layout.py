"""How many ranks each node has, as text."""

from __future__ import annotations

import pytest

from pycoll.layout import format_layout, parse_layout


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("2x2", [0, 0, 1, 1]),
        ("1x3", [0, 0, 0]),
        ("3+1", [0, 0, 0, 1]),
        ("1+2+1", [0, 1, 1, 2]),
    ],
)
def test_layouts_are_read_and_written(text: str, nodes: list[int]) -> None:
    assert parse_layout(text, len(nodes)) == nodes
    assert format_layout(nodes) == text


def test_ranks_that_are_dealt_out_are_counted() -> None:
    assert format_layout([2, 0, 1, 0]) == "2+1+1"


@pytest.mark.parametrize("text", ["", "x", "2x3", "2+3", "4+0", "2*2", "-2+6", "2x2+0"])
def test_what_makes_no_layout_of_the_ranks_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="with 4 ranks it must be numbers of ranks that add up"):
        parse_layout(text, 4)
