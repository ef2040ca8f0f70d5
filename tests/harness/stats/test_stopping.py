import numpy as np
import pytest

from harness.stats.stopping import StoppingRule, centre_half_width
from harness.testing.noise import correlated, iterations

RULE = StoppingRule(min_samples=5, max_samples=100, target=0.02, max_seconds=10)


def test_a_steady_and_certain_series_stops_at_its_target() -> None:
    decision = RULE.decide([10.0, 10.1, 9.9, 10.0, 10.1, 9.9, 10.0, 10.0], elapsed_s=1)

    assert (decision.stop, decision.reason) == (True, "target")
    assert decision.half_width is not None
    assert decision.half_width <= 0.02


def test_an_uncertain_series_goes_on() -> None:
    decision = RULE.decide([10.0, 14, 7, 12, 9, 15, 8], elapsed_s=1)

    assert (decision.stop, decision.reason) == (False, None)


def test_samples_end_at_the_most_that_is_allowed() -> None:
    noisy = iterations(np.random.default_rng(1), 100, spread=0.4)

    assert RULE.decide(list(noisy), elapsed_s=1).reason == "max-samples"


def test_time_ends_sampling() -> None:
    assert RULE.decide([10.0, 14, 7, 12, 9, 15, 8], elapsed_s=10).reason == "budget"


def test_the_least_number_is_collected_over_the_budget() -> None:
    assert not RULE.decide([10.0, 10.0], elapsed_s=29).stop


def test_but_not_over_three_budgets() -> None:
    assert RULE.decide([10.0, 10.0], elapsed_s=30).reason == "budget"


def test_a_process_without_any_sample_is_never_ended() -> None:
    assert not RULE.decide([], elapsed_s=1e6).stop


def test_warm_up_iterations_do_not_count_towards_the_least_number() -> None:
    series = [40.0, 30.0, 10.0, 10.1, 10.0, 9.9]

    decision = RULE.decide(series, elapsed_s=11)

    assert decision.steady.start == 2
    assert not decision.stop


def test_a_series_that_switches_never_reaches_its_target() -> None:
    series = ([10.0, 10.01] * 8 + [12.4, 12.41] * 8) * 2

    decision = RULE.decide(series, elapsed_s=1)

    assert decision.steady.verdict == "no-steady-state"
    assert not decision.stop


def test_a_rising_rate_is_a_warm_up_where_higher_is_faster() -> None:
    rule = StoppingRule(5, 100, 0.02, 10, higher_is_faster=True)

    assert rule.decide([50.0] * 6 + [100.0, 100.1] * 8, elapsed_s=1).steady.verdict == "warmup"


def test_equal_values_are_known_exactly() -> None:
    assert centre_half_width([3.0] * 5) == 0


@pytest.mark.parametrize("series", [[], [1.0], [1.0, float("nan")], [0.0, 0.0, 0.0]])
def test_what_has_no_relative_width_has_none(series: list[float]) -> None:
    assert centre_half_width(series) is None


def test_wild_values_do_not_overflow() -> None:
    assert np.isfinite(centre_half_width([1e-300, 1e300]) or np.nan)


@pytest.mark.parametrize(("n", "rho"), [(8, 0.0), (20, 0.0), (20, 0.5), (100, 0.5)])
def test_nine_of_ten_widths_reach_the_true_centre_though_iterations_are_correlated(
    n: int, rho: float
) -> None:
    random = np.random.default_rng(2)
    hits = []
    for _ in range(400):
        series = np.exp(correlated(random, n, rho, 0.05))
        width = centre_half_width(list(series))
        assert width is not None
        hits.append(abs(np.log(np.median(series))) <= np.log1p(width))

    assert np.mean(hits) >= 0.90


def test_bursts_hardly_widen_it() -> None:
    random = np.random.default_rng(4)
    calm = iterations(random, 60, bursts=0)
    disturbed = calm.copy()
    disturbed[::15] *= 2

    a, b = centre_half_width(list(calm)), centre_half_width(list(disturbed))

    assert a is not None
    assert b is not None
    assert b < 1.5 * a
