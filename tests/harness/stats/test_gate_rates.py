"""The gate's error rates, on fewer draws than benchmarks/gate.py: bounds allow for chance."""

from functools import cache

import numpy as np
import pytest

from harness.stats import SequentialPlan
from harness.stats.robust import robust_centre
from harness.testing.noise import MACHINES, Array, pair_ratios
from harness.testing.trials import Trials, holds, tried

DRAWS = 1500
PLANS = {
    "steady": SequentialPlan(),
    "switching": SequentialPlan.up_to(60),
    "recorded": SequentialPlan.up_to(60),
}


@cache
def ratios(machine: str) -> Array:
    found = next(m for m in MACHINES if m.name == machine)
    pairs = PLANS[machine].looks[-1]
    return pair_ratios(found.centres(np.random.default_rng(1), DRAWS, 2 * pairs))


@cache
def outcome(machine: str, change: float) -> Trials:
    return tried(ratios(machine), change, PLANS[machine])


machines = pytest.mark.parametrize("machine", PLANS)


@machines
def test_at_no_change_about_one_in_a_hundred_is_called_one(machine: str) -> None:
    # 1 % of 1,500 draws is 15; chance gives more than 26 once in a thousand times.
    assert outcome(machine, 0.0).share("larger") * DRAWS <= 26
    assert outcome(machine, 0.0).share("smaller") * DRAWS <= 26


@machines
def test_at_no_change_nine_of_ten_pass_within_the_budget(machine: str) -> None:
    assert outcome(machine, 0.0).share("same") >= 0.88


@machines
def test_a_slowdown_of_5_percent_is_found(machine: str) -> None:
    done = outcome(machine, 0.05)

    assert done.share("larger") >= 0.94
    assert done.pairs.mean() <= {"steady": 15}.get(machine, 30)


@machines
def test_a_slowdown_of_10_percent_is_found_sooner(machine: str) -> None:
    done = outcome(machine, 0.10)

    assert done.share("larger") >= 0.98
    assert done.pairs.mean() <= {"steady": 8}.get(machine, 16)


@machines
def test_a_slowdown_of_exactly_the_margin_passes_at_most_about_once_in_twenty(machine: str) -> None:
    assert outcome(machine, 0.03).share("same") <= 0.07


@pytest.mark.parametrize("machine", ["steady", "switching"])
@pytest.mark.parametrize("pairs", [15, 30])
def test_about_95_of_100_intervals_hold_the_truth(machine: str, pairs: int) -> None:
    covered = holds(robust_centre(ratios(machine)[:, :pairs]), 0.0)

    assert 0.92 <= covered.mean() <= 0.98
