"""Leaving disturbed samples out, on a throttle whose truth is known."""

import pytest

from benchmarks.disturbance import Noise, noise


@pytest.fixture(scope="module")
def both() -> tuple[Noise, Noise]:
    return noise("flag"), noise("discard")


def test_discarding_throttled_samples_takes_most_of_the_noise_and_of_the_bias(
    both: tuple[Noise, Noise],
) -> None:
    flagged, discarded = both

    assert discarded.spread < 0.6 * flagged.spread
    assert abs(discarded.off) < abs(flagged.off) / 2
    assert noise("discard", keep=0.3).spread < discarded.spread


def test_half_of_the_samples_stay_however_long_it_throttled(both: tuple[Noise, Noise]) -> None:
    flagged, discarded = both

    assert set(flagged.kept) == {60}
    assert min(discarded.kept) >= 30
    assert len(discarded.medians) == len(flagged.medians)
