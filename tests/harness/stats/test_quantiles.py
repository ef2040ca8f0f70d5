import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.quantiles import needed, quantile_interval


@pytest.mark.parametrize(("q", "n"), [(0.5, 6), (0.9, 36), (0.1, 36), (0.99, 368)])
def test_a_quantile_needs_so_many_samples(q: float, n: int) -> None:
    assert needed(q) == n


@given(q=st.floats(0.01, 0.99), confidence=st.floats(0.5, 0.999))
def test_needed_is_the_smallest_number_that_will_do(q: float, confidence: float) -> None:
    def misses(n: int) -> float:
        return max(q, 1 - q) ** n

    n = needed(q, confidence)
    half = (1 - confidence) / 2
    assert misses(n) <= half * (1 + 1e-9)
    assert misses(n - 1) > half * (1 - 1e-9)


def test_fewer_samples_are_refused_with_the_number_that_would_do() -> None:
    reading = quantile_interval(np.ones(120), 0.99)

    assert reading.value is None
    assert reading.reason is not None
    assert reading.reason.startswith("needs 368 samples, has 120: raise ")


def test_the_least_number_gives_the_whole_range() -> None:
    reading = quantile_interval(range(1, 37), 0.9)

    assert (reading.high, reading.n) == (36, 36)
    assert reading.low is not None
    assert reading.low < 33


def test_the_interval_of_a_median_is_the_tabled_pair_of_ranks() -> None:
    # Sign-test tables: for n = 20 the 95 % interval of the median runs from rank 6 to rank 15.
    reading = quantile_interval(range(1, 21), 0.5)

    assert (reading.low, reading.value, reading.high) == (6, 10.5, 15)


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
def test_95_of_100_intervals_hold_the_true_quantile(q: float) -> None:
    random = np.random.default_rng(7)
    draws = random.random((1500, 500))

    hits = [r.low <= q <= r.high for x in draws if (r := quantile_interval(x, q))]  # type: ignore[operator]

    assert 0.94 <= np.mean(hits) <= 0.995


def test_a_sample_that_is_not_finite_is_a_reason() -> None:
    reading = quantile_interval([1.0] * 9 + [np.nan], 0.5)

    assert reading.reason == "a sample is not finite"


def test_no_samples_are_a_reason() -> None:
    assert quantile_interval([], 0.5).value is None


@pytest.mark.parametrize("q", [0.0, 1.0, -1.0, 2.0])
def test_a_quantile_outside_0_to_1_is_an_error(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        needed(q)
