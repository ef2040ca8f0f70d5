import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats import benjamini_hochberg, holm

p_values = st.lists(st.floats(0, 1), max_size=20)


def test_holm_multiplies_by_how_many_are_left() -> None:
    # Worked by hand: sorted 0.01, 0.02, 0.04 times 3, 2, 1.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])


def test_benjamini_hochberg_divides_by_rank() -> None:
    # Worked by hand: sorted 0.01, 0.02, 0.04 times 3/1, 3/2, 3/3, the least from above.
    assert benjamini_hochberg([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.03])


def test_among_a_hundred_true_nulls_holm_calls_one_in_twenty_families_false() -> None:
    random = np.random.default_rng(1)

    false = [min(holm(list(random.random(100)))) <= 0.05 for _ in range(2000)]

    assert 0.03 <= np.mean(false) <= 0.07


@given(p=p_values)
def test_adjusted_values_are_never_smaller_and_holms_never_below_the_others(p: list[float]) -> None:
    strict, lenient = holm(p), benjamini_hochberg(p)

    assert all(a <= b + 1e-12 <= c + 2e-12 <= 1 + 3e-12 for a, b, c in zip(p, lenient, strict))  # noqa: B905
    assert len(strict) == len(lenient) == len(p)


@given(p=st.floats(0, 1))
def test_a_family_of_one_is_left_as_it_is(p: float) -> None:
    assert holm([p]) == benjamini_hochberg([p]) == [p]


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(adjust: object, bad: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        adjust([0.5, bad])  # type: ignore[operator]
