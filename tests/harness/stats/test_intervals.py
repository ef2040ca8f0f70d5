import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.intervals import between_processes
from harness.testing.noise import processes

positive = st.floats(1e-6, 1e6)
any_number = st.floats(allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize("count", [3, 5, 10])
def test_95_of_100_intervals_hold_the_truth_under_hierarchical_noise(count: int) -> None:
    random = np.random.default_rng(11)
    truth = np.exp(np.mean([np.log(np.median(x)) for x in processes(random, 2000, 40)]))

    hits = []
    for _ in range(1000):
        centres = [float(np.median(x)) for x in processes(random, count, 40)]
        reading = between_processes(centres)
        assert reading.low is not None
        assert reading.high is not None
        hits.append(reading.low <= truth <= reading.high)

    assert 0.93 <= np.mean(hits) <= 0.97


@given(centres=st.lists(positive, min_size=2, max_size=12), factor=st.floats(1e-3, 1e3))
def test_another_unit_changes_nothing_but_the_unit(centres: list[float], factor: float) -> None:
    here, there = between_processes(centres), between_processes([factor * x for x in centres])

    for name in ("value", "low", "high"):
        a, b = getattr(here, name), getattr(there, name)
        assert (a is None) == (b is None)
        assert a is None or math.isclose(a * factor, b, rel_tol=1e-6)


@given(centres=st.lists(any_number, max_size=8))
def test_nothing_is_ever_nan(centres: list[float]) -> None:
    reading = between_processes(centres)  # a Reading refuses what is not finite

    assert (reading.value is None) == (reading.reason is not None)
    if reading.low is not None and reading.high is not None and reading.value is not None:
        assert reading.low <= reading.value <= reading.high


@given(centre=st.floats(-1e300, 1e300), count=st.integers(2, 9))
def test_processes_that_agree_exactly_have_an_interval_of_no_width(
    centre: float, count: int
) -> None:
    reading = between_processes([centre] * count)

    assert (reading.low, reading.value, reading.high) == (centre, centre, centre)
    assert reading.processes == count


def test_the_value_of_positive_centres_is_their_geometric_mean() -> None:
    assert between_processes([10.0, 1000.0]).value == pytest.approx(100.0)


def test_centres_of_both_signs_are_averaged_as_they_are() -> None:
    reading = between_processes([-1.0, 0.0, 4.0])

    assert reading.value == pytest.approx(1.0)
    assert reading.low is not None
    assert reading.low < 0


def test_one_process_has_a_value_and_says_why_there_is_no_interval() -> None:
    reading = between_processes([5.0])

    assert (reading.value, reading.low, reading.processes) == (5.0, None, 1)
    assert reading.no_interval is not None
    assert "--rounds" in reading.no_interval


def test_no_process_has_no_value() -> None:
    assert between_processes([]).reason == "no process gave a value"


def test_a_value_that_is_not_finite_is_a_reason_and_not_left_out() -> None:
    assert between_processes([1.0, math.inf]).value is None


def test_an_interval_too_wide_for_floating_point_is_none() -> None:
    reading = between_processes([1e-300, 1e300])

    assert reading.value == pytest.approx(1.0)
    assert reading.no_interval is not None
