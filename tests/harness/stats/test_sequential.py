import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats import Look, SequentialPlan, decide
from harness.stats.spending import levels
from harness.testing.noise import processes

plans = st.lists(st.integers(2, 80), min_size=1, max_size=8, unique=True).map(
    lambda x: SequentialPlan(looks=tuple(sorted(x)))
)


def test_the_levels_of_pocock_are_those_of_the_textbook() -> None:
    # Jennison and Turnbull 2000, table 2.1: 5 looks at 5 % two-sided are 2.413 deviations each.
    boundary = 2.413
    level = 0.5 * math.erfc(boundary / math.sqrt(2))
    random = np.random.default_rng(0)
    sums = np.cumsum(random.standard_normal((400_000, 5)), axis=1) / np.sqrt(np.arange(1, 6))
    spent = np.maximum.accumulate(sums, axis=1) > boundary

    found = levels((1, 2, 3, 4, 5), tuple(spent.mean(axis=0)))

    assert found == pytest.approx([level] * 5, rel=0.06)


@given(plan=plans)
def test_each_look_spends_something_and_all_of_them_no_more_than_the_plan(
    plan: SequentialPlan,
) -> None:
    looks = [look for n in plan.looks if (look := plan.at(n)) is not None]

    assert [look.number for look in looks] == list(range(1, len(plan.looks) + 1))
    assert all(0 < look.alpha / 2 <= plan.false_alarm * (1 + 1e-9) for look in looks)
    assert all(0 < look.equivalence <= plan.false_pass * (1 + 1e-9) for look in looks)


def test_on_normal_noise_all_looks_together_spend_less_than_the_plan_promises() -> None:
    plan = SequentialPlan()
    random = np.random.default_rng(3)
    sums = np.cumsum(random.standard_normal((100_000, 30)), axis=1)
    crossed = np.zeros(100_000, dtype=bool)
    for n in plan.looks:
        look = plan.at(n)
        assert look is not None
        tail = 0.5 * np.vectorize(math.erfc)(sums[:, n - 1] / math.sqrt(2 * n))
        crossed |= tail < look.alpha / 2

    assert 0.6 * plan.false_alarm < crossed.mean() < plan.false_alarm


def test_between_looks_there_is_none() -> None:
    plan = SequentialPlan()

    assert plan.at(7) is None
    assert plan.at(6) == Look(1, 6, plan.at(6).alpha, plan.at(6).equivalence)  # type: ignore[union-attr]
    assert plan.last_look == plan.at(30)


def test_a_budget_that_ends_between_looks_has_a_last_one() -> None:
    plan = SequentialPlan()

    closing = plan.closing(12)

    assert closing is not None
    assert (closing.number, closing.pairs) == (3, 12)
    assert plan.closing(1) is None


@pytest.mark.parametrize("pairs", [4, 6, 12, 60, 100])
def test_a_budget_of_pairs_is_its_plans_last_look(pairs: int) -> None:
    plan = SequentialPlan.up_to(pairs)

    assert plan.last_look.pairs == pairs
    assert plan.last_look.equivalence <= plan.false_pass


@pytest.mark.parametrize("looks", [(), (1, 6), (6, 6), (10, 6)])
def test_looks_ascend_from_two(looks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        SequentialPlan(looks=looks)


def test_a_large_slowdown_is_decided_at_the_first_look_and_a_small_one_is_not() -> None:
    plan = SequentialPlan()
    first = plan.at(6)
    assert first is not None
    random = np.random.default_rng(5)
    base, cand = processes(random, 6, 50), processes(random, 6, 50)

    large = decide(base, [1.3 * x for x in cand], first, better="lower", margin=0.03)
    small = decide(base, [1.05 * x for x in cand], first, better="lower", margin=0.03)

    assert (large.verdict, small.verdict) == ("regression", "inconclusive")
