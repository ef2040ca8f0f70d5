"""Energy from readings: known loads, exact answers, reasons."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reading import Reading
from harness.telemetry.counter_energy import counter_energy
from harness.telemetry.energy import Count, Watts, net_joules, per_token
from harness.telemetry.power_energy import power_energy


def _steady(watts: float, until_s: float = 6.0, update_s: float = 0.02) -> list[Count]:
    """A counter under a steady load, read every 20 ms within 1 ms, updated every `update_s`."""
    rows = []
    for tick in range(round(until_s / 0.02) + 1):
        at_s = tick * 0.02
        updated_s = (at_s + 0.0005) // update_s * update_s
        rows.append(Count(at_s, at_s + 0.001, 1000 + watts * updated_s))
    return rows


def test_a_steady_load_is_power_times_time_within_the_bound() -> None:
    energy = counter_energy(_steady(200), 1.0, 4.0, update_s=0.021)
    assert energy.joules.value == pytest.approx(600, abs=energy.bound_j)
    assert energy.bound_j is not None
    assert energy.bound_j < 0.02 * 600


@given(st.floats(0.5, 2.0), st.floats(0.1, 3.0), st.floats(10, 700))
def test_the_interval_holds_the_truth_wherever_a_phase_begins(
    start_s: float, length_s: float, watts: float
) -> None:
    energy = counter_energy(_steady(watts), start_s, start_s + length_s, update_s=0.021)
    assert energy.joules.low is not None
    assert energy.joules.high is not None
    assert energy.joules.low <= watts * length_s <= energy.joules.high


def test_a_counter_that_is_not_known_to_be_fresh_widens_the_bound_and_holds() -> None:
    known = counter_energy(_steady(200), 1.0, 4.0, update_s=0.021)
    unknown = counter_energy(_steady(200), 1.0, 4.0)
    assert known.bound_j is not None
    assert unknown.bound_j is not None
    assert unknown.bound_j >= known.bound_j
    assert unknown.joules.value == pytest.approx(600, abs=unknown.bound_j)


@pytest.mark.parametrize(
    ("counts", "start_s", "end_s", "reason"),
    [
        ([], 1.0, 2.0, "was never read"),
        (_steady(100), -1.0, 2.0, "first read 1.000 s into the phase"),
        (_steady(100), 1.0, 7.0, "last read 0.999 s before the phase's end"),
        (_steady(100), 2.0, 2.0, "took no time"),
        ([Count(0, 0.1, 5.0), Count(3, 3.1, 5.0)], 1.0, 2.0, "was not seen to move"),
    ],
)
def test_an_energy_that_cannot_be_told_is_absent_with_the_reason(
    counts: list[Count], start_s: float, end_s: float, reason: str
) -> None:
    energy = counter_energy(counts, start_s, end_s)
    assert energy.joules.value is None
    assert reason in str(energy.joules.reason)
    assert energy.bound_j is None


def test_a_counter_that_falls_is_not_believed() -> None:
    counts = [
        Count(c.before_s, c.after_s, c.joules - (500 if c.before_s > 2 else 0))
        for c in _steady(100)
    ]
    energy = counter_energy(counts, 1.0, 4.0)
    assert "went backward by 49" in str(energy.joules.reason)


def test_a_fall_long_before_the_phase_does_no_harm() -> None:
    counts = [
        Count(c.before_s, c.after_s, c.joules + (500 if c.before_s < 0.3 else 0))
        for c in _steady(100)
    ]
    assert counter_energy(counts, 2.0, 4.0).joules.value == pytest.approx(200, rel=0.02)


def _ramp(until_s: float = 4.0) -> list[Watts]:
    return [
        Watts(t * 0.02, t * 0.02, 100 + 50 * t * 0.02) for t in range(round(until_s / 0.02) + 1)
    ]


def test_power_on_a_straight_line_sums_up_exactly() -> None:
    energy = power_energy(_ramp(), 1.0, 3.0, update_s=0.0)
    assert energy.joules.value == pytest.approx(200 + 50 * (9 - 1) / 2)
    assert energy.method == "power"


def test_a_phase_that_is_not_covered_by_power_readings_is_absent() -> None:
    assert power_energy(_ramp(), 1.0, 5.0).joules.value is None


def test_what_a_power_sum_leaves_out_is_said() -> None:
    notes = " ".join(power_energy(_ramp(), 1.0, 3.0, window_s=1.0).notes)
    assert "what happened between two readings was not seen" in notes
    assert "0.1 s assumed" in notes
    assert "average over 1 s" in notes


def test_an_average_over_a_second_has_a_wider_bound_than_instant_power() -> None:
    step = [Watts(t * 0.02, t * 0.02, 60.0 if t < 50 else 300.0) for t in range(201)]
    instant = power_energy(step, 1.0, 3.0, update_s=0.02)
    average = power_energy(step, 1.0, 3.0, update_s=0.02, window_s=1.0)
    assert instant.bound_j is not None
    assert average.bound_j is not None
    assert average.bound_j > 5 * instant.bound_j


def test_joules_per_token_keep_their_interval() -> None:
    found = per_token(Reading(value=100, low=98, high=102), 50)
    assert (found.value, found.low, found.high) == (2.0, 1.96, 2.04)


def test_no_token_is_a_reason() -> None:
    assert per_token(Reading(value=100), 0).reason == "no token was made"


def test_net_of_idle_subtracts_power_times_time_and_adds_both_errors() -> None:
    idle = Reading(value=10, low=9, high=11)
    net = net_joules(Reading(value=100, low=95, high=105), idle, 4.0)
    assert (net.value, net.low, net.high) == (60, 51, 69)


def test_net_without_idle_power_is_absent_with_the_reason() -> None:
    net = net_joules(Reading(value=100), Reading.absent("not watched"), 4.0)
    assert net.reason == "idle power is not known: not watched"
