import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats import compare_exact

counts = st.lists(st.integers(0, 10**12), min_size=1, max_size=4)


def test_one_byte_more_is_a_regression_without_a_margin() -> None:
    found = compare_exact([1000, 1000], [1001, 1001])

    assert found.verdict == "regression"
    assert found.ratio == pytest.approx(1.001)
    assert found.reason == "from 1,000 to 1,001: beyond the margin of 0.0%"


def test_within_the_margin_passes() -> None:
    assert compare_exact([1000], [1010], margin=0.01).verdict == "pass"
    assert compare_exact([1000], [1011], margin=0.01).verdict == "regression"


def test_less_is_an_improvement_and_for_throughput_a_regression() -> None:
    assert compare_exact([4], [3]).verdict == "improvement"
    assert compare_exact([4], [3], better="higher").verdict == "regression"


def test_the_first_graph_break_is_a_regression_without_a_ratio() -> None:
    found = compare_exact([0], [1], margin=0.5)

    assert (found.verdict, found.ratio) == ("regression", None)


def test_none_before_and_none_after_is_a_pass() -> None:
    found = compare_exact([0, 0], [0, 0])

    assert (found.verdict, found.reason) == ("pass", "from 0 to 0: no change")


def test_processes_that_disagree_are_not_exact() -> None:
    found = compare_exact([[100, 110]], [[105], [105]])

    assert found.verdict == "inconclusive"
    assert (
        found.reason
        == "from 100 … 110 to 105: processes of one side disagree, so this is not exact"
    )


@pytest.mark.parametrize("bad", [[], [[]], [math.nan], [math.inf], [-1]])
def test_what_is_no_count_is_incomparable(bad: list[float]) -> None:
    assert compare_exact([1], bad).verdict == "incomparable"
    assert compare_exact(bad, [1]).verdict == "incomparable"


@given(base=counts, cand=counts, margin=st.sampled_from([0.0, 0.01, 0.5]))
def test_swapping_the_sides_mirrors_the_verdict(
    base: list[int], cand: list[int], margin: float
) -> None:
    mirror = {"regression": "improvement", "improvement": "regression"}
    here = compare_exact(base, cand, margin).verdict

    assert compare_exact(cand, base, margin).verdict == mirror.get(here, here)
