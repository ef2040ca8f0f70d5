"""Intervals drawn in characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.gate.forest import forest, reach
from harness.gate.judgement import Row


def row(ratio: float | None, low: float | None = None, high: float | None = None) -> Row:
    return Row(case="c", kind="speed", verdict="pass", ratio=ratio, low=low, high=high, margin=0.03)


def test_no_change_lies_in_the_middle_between_both_margins() -> None:
    assert forest(row(1.0), 0.06, 13) == "···┆··●··┆···"


def test_an_interval_reaches_from_end_to_end() -> None:
    assert forest(row(1.03, 1.01, 1.05), 0.06, 13) == "···┆··│├─●─┤·".replace("│├", "│├")


@pytest.mark.parametrize("ratio", [None, 0.0, -1.0])
def test_what_has_no_ratio_is_blank(ratio: float | None) -> None:
    assert forest(row(ratio), 0.1, 13) == " " * 13


def test_far_beyond_the_edge_is_drawn_at_the_edge() -> None:
    assert forest(row(1000.0), 0.1, 13)[-1] == "●"


positive = st.floats(1e-6, 1e6)


@given(positive, positive, positive, st.integers(9, 60))
def test_every_row_fills_its_width_and_has_one_point(
    ratio: float, one: float, other: float, width: int
) -> None:
    drawn = row(ratio, min(one, other), max(one, other))

    line = forest(drawn, reach([drawn]), width)

    assert len(line) == width
    assert line.count("●") == 1
