import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats import change_points
from harness.testing.noise import RECORDED_MS


def test_steps_are_found_where_they_are() -> None:
    random = np.random.default_rng(1)
    series = np.concatenate([random.normal(m, 0.02 * m, 20) for m in (10, 11, 9)])

    found = change_points(series)

    assert [c.index for c in found] == [20, 40]
    assert found[0].before == pytest.approx(10, rel=0.02)
    assert found[0].after == pytest.approx(11, rel=0.02)
    assert all(c.low <= c.index <= c.high for c in found)
    assert all(c.p_value <= 0.01 for c in found)


def test_about_one_in_a_hundred_series_of_one_level_has_a_change() -> None:
    random = np.random.default_rng(2)

    false = [bool(change_points(random.normal(100, 3, 40))) for _ in range(300)]

    assert np.mean(false) <= 0.03


def test_the_interval_holds_the_true_place_of_a_small_step() -> None:
    random = np.random.default_rng(3)

    hits = []
    for _ in range(120):
        series = np.concatenate([random.normal(100, 3, 25), random.normal(106, 3, 25)])
        hits += [c.low <= 25 <= c.high for c in change_points(series)]

    assert len(hits) >= 110
    assert np.mean(hits) >= 0.9


def test_one_outlier_is_no_change_of_level() -> None:
    series = [10.0, 10.1, 9.9, 10.0, 10.05, 31.0, 10.1, 9.95, 10.0, 10.02, 9.9, 10.1]

    assert change_points(series) == []


def test_the_states_of_a_recorded_machine_are_changes() -> None:
    found = [c.index for c in change_points(RECORDED_MS)]

    assert 11 in found  # from 20 back to 15.7 ms
    assert 25 in found  # and from 15.4 to 19.3 ms


def test_series_with_zeros_are_judged_as_they_are() -> None:
    found = change_points([0.0] * 6 + [3.0] * 6)

    assert [(c.index, c.before, c.after) for c in found] == [(6, 0.0, 3.0)]


@pytest.mark.parametrize("series", [[], [1.0], [1.0] * 50, [1.0, 2.0, 1.0, 2.0, 1.0]])
def test_short_and_constant_series_have_none(series: list[float]) -> None:
    assert change_points(series) == []


def test_a_run_without_a_figure_is_refused() -> None:
    with pytest.raises(ValueError, match="leave out runs without a figure"):
        change_points([1.0, float("nan")])


@given(seed=st.integers(0, 50), factor=st.floats(1e-3, 1e3))
def test_another_unit_changes_nothing(seed: int, factor: float) -> None:
    random = np.random.default_rng(seed)
    series = np.concatenate([random.normal(10, 0.2, 10), random.normal(10.8, 0.2, 10)])

    here, there = change_points(series), change_points(factor * series)

    assert [c.index for c in here] == [c.index for c in there]
