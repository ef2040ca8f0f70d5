import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.steady import Steady, steady_state
from harness.testing.noise import RECORDED_MS, Array, iterations


def quiet(n: int, seed: int = 1) -> Array:
    return iterations(np.random.default_rng(seed), n, rho=0.3, spread=0.01, bursts=0)


def test_a_constant_series_is_flat() -> None:
    assert steady_state([7.0] * 30) == Steady(0, "flat")


@pytest.mark.parametrize("seed", range(10))
def test_a_noisy_level_is_flat(seed: int) -> None:
    assert steady_state(quiet(60, seed)) == Steady(0, "flat")


@pytest.mark.parametrize("n", [0, 1, 4])
def test_fewer_than_five_iterations_say_nothing(n: int) -> None:
    assert steady_state([1.0] * n) == Steady(0, "too-short")


@pytest.mark.parametrize("at", [3, 10, 25, 40, 57])
@pytest.mark.parametrize("size", [0.2, 1.5, 20.0])
def test_one_gross_outlier_is_no_change(at: int, size: float) -> None:
    series = quiet(60)
    series[at] *= size

    assert steady_state(series) == Steady(0, "flat")


def test_a_short_disturbance_is_no_change() -> None:
    series = quiet(60)
    series[30:34] *= 1.4

    assert steady_state(series) == Steady(0, "flat")


def test_slow_first_iterations_are_a_warm_up() -> None:
    series = quiet(20)
    series[0] *= 4
    series[1] *= 1.5

    assert steady_state(series) == Steady(2, "warmup")


def test_a_step_down_is_a_warm_up_and_ends_there() -> None:
    series = quiet(40)
    series[:12] *= 1.25

    steady = steady_state(series)

    assert steady.verdict == "warmup"
    assert abs(steady.start - 12) <= 1


@pytest.mark.parametrize(("step", "verdict"), [(1.005, "flat"), (1.04, "warmup")])
def test_a_step_smaller_than_one_percent_is_none_however_clear(step: float, verdict: str) -> None:
    series = iterations(np.random.default_rng(1), 40, rho=0, spread=0.0005, bursts=0)
    series[:12] *= step

    assert steady_state(series).verdict == verdict


def test_an_exponential_warm_up_ends_where_little_of_it_is_left() -> None:
    series = quiet(80) * (1 + 2.0 * np.exp(-np.arange(80) / 5))

    steady = steady_state(series)

    assert steady.verdict == "warmup"
    assert 12 <= steady.start <= 30  # 18 % and 0.5 % of excess are left there


def test_a_step_up_is_a_slow_down() -> None:
    series = quiet(40)
    series[15:] *= 1.3

    steady = steady_state(series)

    assert steady.verdict == "slowdown"
    assert abs(steady.start - 15) <= 1


def test_for_a_rate_a_step_up_is_a_warm_up() -> None:
    series = quiet(40)
    series[15:] *= 1.3

    assert steady_state(series, higher_is_faster=True).verdict == "warmup"


def test_switching_between_two_states_is_no_steady_state_and_all_of_it_counts() -> None:
    series = quiet(80)
    series[15:35] *= 1.24
    series[55:] *= 1.24

    assert steady_state(series) == Steady(0, "no-steady-state")


def test_a_return_to_an_earlier_level_is_switching_and_no_warm_up() -> None:
    series = quiet(80)
    series[12:32] *= 1.24

    assert steady_state(series) == Steady(0, "no-steady-state")


def test_a_warm_up_in_front_of_switching_states_is_left_out() -> None:
    series = quiet(90)
    series[:8] *= 3
    series[25:45] *= 1.24
    series[65:] *= 1.24

    steady = steady_state(series)

    assert steady.verdict == "no-steady-state"
    assert abs(steady.start - 8) <= 1


def test_a_change_past_the_middle_leaves_no_steady_state() -> None:
    series = quiet(40)
    series[30:] *= 1.3

    assert steady_state(series) == Steady(0, "no-steady-state")


def test_a_warm_up_past_the_middle_drops_the_first_half_and_no_more() -> None:
    series = quiet(40)
    series[:30] *= 2

    assert steady_state(series) == Steady(20, "no-steady-state")


def test_the_recorded_machine_had_no_steady_state() -> None:
    steady = steady_state(RECORDED_MS)

    assert steady == Steady(1, "no-steady-state")  # the gross first one is left out


@pytest.mark.parametrize(
    "spoil", [lambda x: x * 0, lambda x: -x, lambda x: np.append(x, np.nan), lambda x: x - 1]
)
def test_what_is_no_time_still_has_an_answer(spoil: Callable[[Array], Array]) -> None:
    assert steady_state(spoil(quiet(20))).verdict in ("flat", "no-steady-state")


@given(st.lists(st.floats(1e-3, 1e3), max_size=60))
def test_never_more_than_half_is_dropped(series: list[float]) -> None:
    assert steady_state(series).start <= len(series) // 2


@given(st.lists(st.floats(0.5, 2.0), min_size=5, max_size=40), st.sampled_from([1e-3, 1e3]))
def test_the_unit_does_not_matter(series: list[float], factor: float) -> None:
    coarse = [float(f"{x:.2g}") for x in series]  # keeps comparisons off rounding errors

    assert steady_state(coarse).verdict == steady_state([factor * x for x in coarse]).verdict


@pytest.mark.parametrize("n", [10, 30, 200])
def test_correlated_noise_with_bursts_is_seldom_taken_for_change(n: int) -> None:
    random = np.random.default_rng(3)
    verdicts = Counter(steady_state(iterations(random, n)).verdict for _ in range(200))

    # A first iteration hit by a burst counts as a warm-up of one, which costs nothing.
    assert verdicts["slowdown"] + verdicts["no-steady-state"] <= 0.06 * 200
    assert verdicts["flat"] >= 0.85 * 200


def test_two_hundred_iterations_are_judged_quickly() -> None:
    series = iterations(np.random.default_rng(5), 200)

    def spent() -> float:
        start = time.process_time()
        for _ in range(20):
            steady_state(series)
        return (time.process_time() - start) / 20

    assert min(spent() for _ in range(5)) < 5e-3  # 0.4 ms here; processor time, with room
