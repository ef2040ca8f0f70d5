import numpy as np
import pytest

from harness.stats import compare, compare_tails
from harness.stats.tails import pooled_quantile
from harness.testing.noise import processes


@pytest.mark.parametrize("count", [3, 6])
def test_about_95_of_100_intervals_hold_the_true_tail(count: int) -> None:
    random = np.random.default_rng(9)
    truth = float(np.quantile(np.concatenate(processes(random, 2000, 200)), 0.9))

    hits = []
    for _ in range(250):
        reading = pooled_quantile(processes(random, count, 100), 0.9)
        assert reading.low is not None
        assert reading.high is not None
        hits.append(reading.low <= truth <= reading.high)

    assert 0.90 <= np.mean(hits) <= 0.99


def test_samples_of_all_processes_count_together() -> None:
    assert pooled_quantile([np.ones(18), np.ones(18)], 0.9).n == 36
    assert pooled_quantile([np.ones(18), np.ones(17)], 0.9).value is None


def test_too_few_samples_name_the_number_that_would_do() -> None:
    reading = pooled_quantile([np.ones(40)] * 3, 0.99)

    assert reading.reason is not None
    assert reading.reason.startswith("needs 368 samples, has 120")


def test_the_same_samples_give_the_same_interval() -> None:
    samples = processes(np.random.default_rng(1), 4, 50)

    assert pooled_quantile(samples, 0.9) == pooled_quantile(samples, 0.9)


def test_processes_that_differ_widen_the_interval_more_than_samples_narrow_it() -> None:
    random = np.random.default_rng(2)
    same = [random.normal(10, 1, 500) for _ in range(3)]
    apart = [x * f for x, f in zip(same, (0.8, 1.0, 1.25), strict=True)]

    narrow, wide = pooled_quantile(same, 0.9), pooled_quantile(apart, 0.9)

    assert narrow.half_width is not None
    assert wide.half_width is not None
    assert wide.half_width > 5 * narrow.half_width


def test_one_process_has_a_tail_but_no_interval() -> None:
    reading = pooled_quantile([np.arange(1.0, 41.0)], 0.9)

    assert reading.value == pytest.approx(36.1)
    assert reading.no_interval is not None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_a_reason(bad: float) -> None:
    assert pooled_quantile([np.append(np.ones(50), bad)], 0.9).value is None


def test_no_samples_are_a_reason() -> None:
    assert pooled_quantile([np.empty(0)], 0.9).reason == "no process gave a value"


def test_tails_of_both_signs_have_a_plain_interval() -> None:
    reading = pooled_quantile([np.linspace(-5, 0.5, 50), np.linspace(-4, 1, 50)], 0.9)

    assert reading.low is not None
    assert reading.value is not None
    assert reading.low < reading.value


def test_a_longer_tail_is_a_regression_where_the_median_has_not_moved() -> None:
    random = np.random.default_rng(3)
    base = processes(random, 10, 200)
    cand = [np.where(x > np.quantile(x, 0.95), 1.5 * x, x) for x in processes(random, 10, 200)]

    assert compare_tails(base, cand).verdict == "regression"
    assert compare(base, cand).verdict != "regression"


def test_tails_of_too_few_samples_are_refused_with_the_number_it_takes() -> None:
    few = processes(np.random.default_rng(3), 5, 20)

    found = compare_tails(few, few)

    assert (found.verdict, found.ratio) == ("inconclusive", None)
    assert found.reason.startswith("base: p99 needs 368 samples, has 100")


def test_about_95_of_100_ratios_of_tails_hold_the_truth() -> None:
    random = np.random.default_rng(8)

    hits = []
    for _ in range(150):
        found = compare_tails(processes(random, 8, 60), processes(random, 8, 60), 0.9)
        assert found.low is not None
        assert found.high is not None
        hits.append(found.low <= 1 <= found.high)

    assert 0.90 <= np.mean(hits) <= 0.99


def test_a_tail_of_one_pair_is_inconclusive() -> None:
    one = [np.linspace(1, 2, 400)]

    assert compare_tails(one, one).verdict == "inconclusive"


def test_tails_of_what_is_not_finite_are_incomparable() -> None:
    assert compare_tails([np.array([1.0, np.nan])], [np.ones(2)]).verdict == "incomparable"
