import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.stats.robust import robust_centre

values = arrays(np.float64, st.integers(2, 40), elements=st.floats(-3, 3, width=32))


def test_normal_values_have_their_mean_and_students_error() -> None:
    x = np.random.default_rng(1).standard_normal(20)

    found = robust_centre(x)

    assert not found.robust
    assert found.value == x.mean()
    assert found.error == pytest.approx(x.std(ddof=1) / np.sqrt(20))
    assert found.degrees == 19


def test_pairs_that_straddle_a_switch_get_no_weight() -> None:
    random = np.random.default_rng(2)
    clean = 0.03 * random.standard_normal(24)
    x = np.concatenate([clean, [0.24, 0.25, 0.22, 0.26, 0.21, 0.7]])

    found = robust_centre(x)

    assert found.robust
    assert found.value == pytest.approx(clean.mean(), abs=0.005)
    assert found.error < 0.5 * x.std(ddof=1) / np.sqrt(x.size)


def test_in_few_values_nothing_is_called_an_outlier() -> None:
    x = np.array([0.01, -0.01, 0.0, 0.02, 0.005, 0.9])

    assert robust_centre(x).value == x.mean()


def test_rows_are_summarised_one_by_one() -> None:
    x = np.random.default_rng(3).standard_t(1.5, (50, 15))

    together = robust_centre(x)
    apart = [robust_centre(row) for row in x]

    assert 0 < together.robust.sum() < 50
    assert together.value == pytest.approx([float(c.value) for c in apart])
    assert together.error == pytest.approx([float(c.error) for c in apart])


def test_a_coarse_clock_that_leaves_most_ratios_at_zero_keeps_the_mean() -> None:
    found = robust_centre(np.array([0.0] * 9 + [0.05, -0.05, 0.05]))

    assert not found.robust
    assert found.error > 0


@given(x=values)
def test_any_finite_values_have_a_finite_centre_among_them(x: np.ndarray) -> None:
    found = robust_centre(x)

    assert np.isfinite(found.error)
    assert x.min() - 1e-9 <= found.value <= x.max() + 1e-9
    assert found.degrees > 0


@given(x=values)
def test_the_mirror_of_values_has_the_mirror_centre(x: np.ndarray) -> None:
    here, there = robust_centre(x), robust_centre(-x)

    assert there.value == pytest.approx(-here.value, abs=1e-9)
    assert there.error == pytest.approx(here.error, abs=1e-9)
