"""The estimator against the simulator's truth: it sees the sensors only."""

from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.testing.nvmlsim import SimulatedNvml
from harness.testing.power_traces import Outcome, play, random_trace

_TRACES = 1000


@pytest.fixture(scope="module")
def outcomes(simulator: SimulatedNvml) -> list[Outcome]:
    found: list[Outcome] = []

    @settings(
        max_examples=_TRACES,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**63))
    def one(seed: int) -> None:
        found.append(play(simulator, random_trace(Random(seed))))

    one()
    return found


def test_a_thousand_traces_were_played(outcomes: list[Outcome]) -> None:
    assert len(outcomes) >= _TRACES
    assert all(outcome.energy.method == "counter" for outcome in outcomes)


def test_the_truth_lies_within_the_stated_bound_in_99_of_100_traces(
    outcomes: list[Outcome],
) -> None:
    outside = [o for o in outcomes if not o.within]
    assert len(outside) <= len(outcomes) / 100, outside[:3]


def _relative_bounds(outcomes: list[Outcome], shortest_s: float, update_s: float) -> list[float]:
    return [
        (o.energy.bound_j or 0.0) / o.true_j
        for o in outcomes
        if o.trace.end_s - o.trace.start_s >= shortest_s
        and o.trace.update_s == update_s
        and o.trace.tick_s == 0.02
    ]


@pytest.mark.parametrize("update_s", [0.01, 0.02, 0.05, 0.1])
def test_the_bound_is_under_2_percent_for_phases_of_2_seconds(
    outcomes: list[Outcome], update_s: float
) -> None:
    bounds = _relative_bounds(outcomes, 2.0, update_s)
    assert len(bounds) > 50
    assert sum(bound < 0.02 for bound in bounds) >= 0.99 * len(bounds)


def test_summing_up_the_average_power_is_much_further_off(outcomes: list[Outcome]) -> None:
    def median(values: list[float]) -> float:
        return sorted(values)[len(values) // 2]

    ours = median([abs(o.error_j) / o.true_j for o in outcomes])
    naive = median([abs(o.naive_average_j - o.true_j) / o.true_j for o in outcomes])
    assert naive > 10 * ours
