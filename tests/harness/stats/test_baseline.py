import numpy as np
import pytest

from harness.stats import compare, compare_stored
from harness.testing.noise import Array


def run(random: np.random.Generator, spread: float, count: int = 5) -> list[Array]:
    """One run: processes that share its mood."""
    mood = random.normal(0, spread)
    return [
        np.exp(mood + random.normal(0, 0.01) + random.normal(0, 0.02, 30)) for _ in range(count)
    ]


@pytest.mark.parametrize("runs", [6, 15])
def test_about_95_of_100_intervals_hold_the_truth_whatever_the_mood_of_runs(runs: int) -> None:
    random = np.random.default_rng(1)

    hits = []
    for _ in range(600):
        found = compare_stored([run(random, 0.04) for _ in range(runs)], run(random, 0.04))
        assert found.low is not None
        assert found.high is not None
        hits.append(found.low <= 1 <= found.high)

    assert 0.92 <= np.mean(hits) <= 0.98


def test_one_earlier_run_is_far_less_sure_than_pairs_and_says_why() -> None:
    random = np.random.default_rng(2)
    base, cand = run(random, 0.0, 8), [1.06 * x for x in run(random, 0.0, 8)]

    stored, paired = compare_stored([base], cand), compare(base, cand)

    assert paired.verdict == "regression"
    assert stored.verdict == "inconclusive"
    assert (
        "against 1 earlier run, too few to know their spread: 5% from run to run" in stored.reason
    )
    assert "harness ab would need about" in stored.reason


def test_each_run_seen_takes_the_place_of_an_assumption() -> None:
    def expected_width(count: int) -> float:
        random = np.random.default_rng(3)
        found = [
            compare_stored([run(random, 0.002) for _ in range(count)], run(random, 0.002))
            for _ in range(40)
        ]
        return float(np.mean([np.log(x.high / x.low) for x in found]))  # type: ignore[operator]

    widths = [expected_width(count) for count in (1, 2, 3, 5, 12)]

    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.05 < widths[0]


def test_runs_that_agree_make_a_slowdown_certain() -> None:
    random = np.random.default_rng(5)
    runs = [run(random, 0.002) for _ in range(10)]

    found = compare_stored(runs, [1.1 * x for x in run(random, 0.002)])

    assert found.verdict == "regression"
    assert "against 10 earlier runs" in found.reason


def test_runs_that_differ_hide_the_same_slowdown() -> None:
    random = np.random.default_rng(6)
    runs = [run(random, 0.08) for _ in range(10)]

    assert compare_stored(runs, [1.1 * x for x in run(random, 0.0)]).verdict == "inconclusive"


def test_one_process_everywhere_is_inconclusive() -> None:
    found = compare_stored([[[10.0]], [[10.2]]], [[10.1]])

    assert (found.verdict, found.low) == ("inconclusive", None)


@pytest.mark.parametrize("bad", [[], [[]], [[float("nan")]], [[0.0]]])
def test_a_run_without_usable_samples_is_incomparable(bad: list[list[float]]) -> None:
    good = [[1.0, 1.1], [1.2]]

    assert compare_stored([good], bad).verdict == "incomparable"
    assert compare_stored([bad], good).verdict == "incomparable"
