"""What grew between two sides that were profiled in turn, and what is left over."""

import math
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.profiling.difference import difference
from harness.profiling.record import Profile

Make = Callable[..., list[Profile]]
BASE = [
    ("aten::linear", "m/decoder.py:step", 30, 9e6),
    ("(host)", "m/decoder.py:step", 90, 1e6),
]
COPY = ("aten::copy_", "m/cache.py:bump", 30, 2e6)


def test_a_new_operator_explains_a_slowdown(profiles: Make) -> None:
    change = difference(profiles(BASE), profiles([*BASE, COPY], seed=1), "decode")

    assert change is not None
    assert change.is_sure
    assert change.explained[0].operator == "aten::copy_"
    assert change.explained[0].is_new
    assert change.share(change.explained[0]) == pytest.approx(1.0, abs=0.15)


def test_shares_and_the_unexplained_rest_add_up_to_one(profiles: Make) -> None:
    change = difference(profiles(BASE), profiles([*BASE, COPY], seed=1), "decode")

    assert change is not None
    named = sum(change.share(c) for c in change.explained)
    assert named + change.unexplained == pytest.approx(1.0)


def test_rows_add_up_to_the_change_of_the_whole(profiles: Make) -> None:
    change = difference(profiles(BASE), profiles([*BASE, COPY], seed=1), "decode")

    assert change is not None
    assert sum(c.ns for c in change.changes) == pytest.approx(change.change_ns, rel=0.05)


def test_where_nothing_changed_nothing_is_named(profiles: Make) -> None:
    for seed in range(40):
        base, cand = profiles(BASE, seed=seed), profiles(BASE, seed=1000 + seed)
        change = difference(base, cand, "decode")
        assert change is not None
        assert change.explained == ()


def test_a_row_whose_interval_holds_zero_is_not_named(profiles: Make) -> None:
    wild = [("aten::linear", "m/decoder.py:step", 30, 9e6)]
    change = difference(
        profiles([*wild, COPY], noise=0.5), profiles([*wild, COPY], noise=0.5, seed=9), "decode"
    )
    assert change is not None
    assert all(c.is_sure for c in change.explained)


def test_a_speedup_is_explained_by_what_shrank(profiles: Make) -> None:
    change = difference(profiles([*BASE, COPY]), profiles(BASE, seed=1), "decode")

    assert change is not None
    assert change.ratio < 1
    assert [c.operator for c in change.explained] == ["aten::copy_"]
    assert change.explained[0].ns < 0


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pairs_give_no_answer(count: int, profiles: Make) -> None:
    assert difference(profiles(BASE, count=count), profiles(BASE, count=count), "decode") is None


def test_a_phase_that_was_not_profiled_gives_no_answer(profiles: Make) -> None:
    assert difference(profiles(BASE), profiles(BASE), "prefill") is None


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # it only returns a function
)
@given(grown=st.floats(1.2, 5), at=st.integers(0, 1), seed=st.integers(0, 1000))
def test_the_row_that_grew_is_first(profiles: Make, grown: float, at: int, seed: int) -> None:
    rows = [("aten::linear", "f:a", 1, 5e6), ("aten::bmm", "f:b", 1, 5e6)]
    slow = [*rows]
    operator, function, calls, ns = slow[at]
    slow[at] = (operator, function, calls, ns * grown)
    change = difference(profiles(rows, seed=seed), profiles(slow, seed=seed + 5000), "decode")
    assert change is not None
    assert change.explained[0].operator == operator


def test_two_rounds_that_disagree_wildly_give_ends_that_are_numbers(profiles: Make) -> None:
    rows = [(f"aten::op{i}", "m/d.py:step", 1.0, 1e3) for i in range(60)]
    strange = [("aten::copy_", "m/d.py:read", 1.0, 1e3)]
    cand = profiles(rows + strange, count=1) + profiles([*rows, (*strange[0][:3], 1e9)], count=1)

    change = difference(profiles(rows, count=2), cand, "decode")

    assert change is not None
    assert all(math.isfinite(c.low) and math.isfinite(c.high) for c in change.changes)
    assert math.isfinite(change.high)


def test_a_new_row_is_sure_however_much_its_time_varies(profiles: Make) -> None:
    base = [("aten::linear", "m/d.py:step", 30.0, 9e6)]
    slow = [*base, ("(host)", "m/d.py:read", 1.0, 60e6)]

    change = difference(profiles(base), profiles(slow, noise=0.25, seed=3), "decode")

    assert change is not None
    assert change.explained[0].function == "m/d.py:read"
    assert change.explained[0].low > 0
