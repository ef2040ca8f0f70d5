import numpy as np
import pytest

from harness.stats import compare
from harness.testing.noise import processes


def test_a_clear_slowdown_is_a_regression() -> None:
    random = np.random.default_rng(1)
    base = processes(random, 15, 50)
    cand = [1.15 * x for x in processes(random, 15, 50)]

    found = compare(base, cand)

    assert found.verdict == "regression"
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1.15 < found.high


def test_for_a_rate_more_is_better() -> None:
    random = np.random.default_rng(1)
    base = processes(random, 15, 50)

    found = compare(base, [1.15 * x for x in processes(random, 15, 50)], better="higher")

    assert found.verdict == "improvement"


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_an_impossible_sample_makes_sides_incomparable_and_names_its_process(bad: float) -> None:
    good = [np.ones(3) * x for x in range(1, 9)]

    found = compare(good, [*good[:4], np.array([1.0, bad]), *good[5:]])

    assert found.verdict == "incomparable"
    assert found.reason.startswith("candidate, process 5: a sample is ")
