import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats import Comparison, compare
from harness.testing.noise import Array, processes

MIRROR = {"regression": "improvement", "improvement": "regression"}
seeds = st.integers(0, 10_000)
counts = st.integers(2, 16)
changes = st.floats(-0.3, 0.3)
anything = st.lists(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=3), max_size=12
)


def sides(seed: int, count: int, change: float) -> tuple[list[Array], list[Array]]:
    random = np.random.default_rng(seed)
    base = processes(random, count, 20)
    return base, [(1 + change) * x for x in processes(random, count, 20)]


def figures(found: Comparison) -> list[float]:
    return [x for x in (found.ratio, found.low, found.high, found.p_value) if x is not None]


def test_a_clear_slowdown_is_a_regression() -> None:
    found = compare(*sides(1, 15, 0.15))

    assert found.verdict == "regression"
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1.15 < found.high
    assert found.pairs == 15


def test_for_a_rate_more_is_better() -> None:
    assert compare(*sides(1, 15, 0.15), better="higher").verdict == "improvement"


def test_no_change_passes_once_the_interval_fits_into_the_margin() -> None:
    base, cand = sides(2, 40, 0)

    assert compare(base[:6], cand[:6]).verdict == "inconclusive"
    assert compare(base, cand).verdict == "pass"


def test_a_certain_change_that_is_smaller_than_the_margin_passes() -> None:
    random = np.random.default_rng(1)
    base = [random.normal(100, 0.1, 20) for _ in range(10)]

    found = compare(base, [1.02 * x + random.normal(0, 0.1, 20) for x in base])

    assert found.verdict == "pass"
    assert found.p_value is not None
    assert found.p_value < 1e-6


@given(seed=seeds, count=counts, change=changes, paired=st.booleans())
def test_swapping_the_sides_mirrors_the_verdict(
    seed: int, count: int, change: float, paired: bool
) -> None:
    base, cand = sides(seed, count, change)

    here, there = compare(base, cand, paired=paired), compare(cand, base, paired=paired)

    assert there.verdict == MIRROR.get(here.verdict, here.verdict)
    assert here.ratio is not None
    assert there.ratio == pytest.approx(1 / here.ratio)
    assert there.low == pytest.approx(1 / here.high)  # type: ignore[operator]
    assert there.p_value == pytest.approx(here.p_value)


@given(seed=seeds, count=counts, change=changes, paired=st.booleans(), factor=st.floats(1e-6, 1e6))
def test_another_unit_changes_nothing(
    seed: int, count: int, change: float, paired: bool, factor: float
) -> None:
    base, cand = sides(seed, count, change)

    here = compare(base, cand, paired=paired)
    there = compare([factor * x for x in base], [factor * x for x in cand], paired=paired)

    assert figures(there) == pytest.approx(figures(here), rel=1e-6)
    assert there.verdict == here.verdict


@given(seed=seeds, count=counts, change=changes, order=st.randoms(use_true_random=False))
def test_unpaired_the_order_of_processes_is_irrelevant(
    seed: int, count: int, change: float, order: object
) -> None:
    base, cand = sides(seed, count, change)
    shuffled = list(base)
    order.shuffle(shuffled)  # type: ignore[attr-defined]

    here, there = compare(base, cand, paired=False), compare(shuffled, cand, paired=False)

    assert there.verdict == here.verdict
    assert figures(there) == pytest.approx(figures(here))


@given(seed=seeds, count=counts, change=changes, order=st.randoms(use_true_random=False))
def test_paired_the_order_of_pairs_is_irrelevant(
    seed: int, count: int, change: float, order: object
) -> None:
    pairs = list(zip(*sides(seed, count, change), strict=True))
    shuffled = list(pairs)
    order.shuffle(shuffled)  # type: ignore[attr-defined]

    here, there = (compare([a for a, _ in x], [b for _, b in x]) for x in (pairs, shuffled))

    assert there.verdict == here.verdict
    assert figures(there) == pytest.approx(figures(here))


@pytest.mark.parametrize("paired", [True, False])
def test_more_pairs_never_widen_the_expected_interval(paired: bool) -> None:
    def expected_width(count: int) -> float:
        found = [compare(*sides(seed, count, 0), paired=paired) for seed in range(120)]
        return float(np.mean([math.log(x.high / x.low) for x in found]))  # type: ignore[operator]

    widths = [expected_width(count) for count in (2, 3, 4, 6, 8, 9, 10, 12, 20)]

    assert widths == sorted(widths, reverse=True)


@given(base=anything, cand=anything, paired=st.booleans(), better=st.sampled_from(["lower"]))
def test_no_input_raises_or_gives_a_figure_that_is_not_finite(
    base: list[list[float]], cand: list[list[float]], paired: bool, better: str
) -> None:
    found = compare(base, cand, paired=paired)

    assert all(math.isfinite(x) for x in figures(found))
    assert found.reason


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
@pytest.mark.parametrize("paired", [True, False])
def test_an_impossible_sample_makes_sides_incomparable_and_names_its_process(
    bad: float, paired: bool
) -> None:
    good = [np.ones(3) * x for x in range(1, 9)]

    found = compare(good, [*good[:4], np.array([1.0, bad]), *good[5:]], paired=paired)

    assert found.verdict == "incomparable"
    assert found.reason.startswith("candidate, process 5: a sample is ")


@pytest.mark.parametrize(("base", "cand"), [([], []), ([[]], [[1.0]]), ([[1.0]], [])])
def test_a_side_without_samples_is_incomparable(
    base: list[list[float]], cand: list[list[float]]
) -> None:
    found = compare(base, cand)

    assert found.verdict == "incomparable"
    assert "no process gave a sample" in found.reason


def test_one_process_a_side_is_inconclusive_but_has_a_ratio() -> None:
    found = compare([[10.0, 10.1]], [[10.0, 10.1]])

    assert (found.verdict, found.ratio, found.low) == ("inconclusive", 1.0, None)
    assert "one process" in found.reason


def test_two_pairs_that_agree_by_luck_do_not_pass() -> None:
    found = compare([[10.0], [11.0]], [[10.01], [11.03]])

    assert found.verdict != "improvement"
    assert found.low is not None


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_one_number_throughout_is_no_evidence_of_anything(factor: float) -> None:
    found = compare([[5.0]] * 10, [[factor * 5.0]] * 10)

    assert found.verdict == "inconclusive"
    assert found.ratio == pytest.approx(factor)
    assert "too coarse a clock" in found.reason


def test_a_run_compared_with_itself_passes() -> None:
    base, _ = sides(3, 8, 0)

    found = compare(base, base)

    assert (found.verdict, found.ratio, found.low, found.high) == ("pass", 1.0, 1.0, 1.0)


def test_a_pair_without_samples_is_left_out_and_named() -> None:
    base, cand = sides(1, 12, 0.15)

    found = compare([*base[:3], np.empty(0), *base[4:]], cand)

    assert found.pairs == 11
    assert "1 pair left out" in found.reason


def test_a_change_is_found_although_every_fourth_pair_straddles_a_switch() -> None:
    random = np.random.default_rng(4)
    base, cand = sides(4, 30, 0.08)
    straddling = random.permutation(30)[:8]
    for k, pair in enumerate(straddling):
        (base if k % 2 else cand)[pair] *= 1.24

    assert compare(base, cand).verdict == "regression"


def test_the_rule_needs_a_margin_and_a_level() -> None:
    base, cand = sides(1, 6, 0)

    with pytest.raises(ValueError, match="margin 0 must"):
        compare(base, cand, margin=0)
    with pytest.raises(ValueError, match="levels 1"):
        compare(base, cand, alpha=1.5)
