import numpy as np
import pytest

from harness.cautions import CautionKind
from harness.reading import Reading
from harness.stats.doubts import above_ceiling, bimodality
from harness.store.record import Figure, Utilization
from harness.testing.noise import RECORDED_MS, iterations


def test_the_recorded_machine_had_two_states_and_both_are_named() -> None:
    doubt = bimodality([RECORDED_MS[:14], RECORDED_MS[14:]], "itl_ms", "batch=1")

    assert doubt is not None
    assert doubt.kind is CautionKind.BIMODAL
    assert (doubt.metric, doubt.point) == ("itl_ms", "batch=1")
    assert "15.7" in doubt.message
    assert "19.4" in doubt.message


@pytest.mark.parametrize("n", [6, 20, 50, 300])
def test_noise_with_bursts_has_one_state(n: int) -> None:
    random = np.random.default_rng(1)
    found = [bimodality([iterations(random, n)], "itl_ms") for _ in range(100)]

    assert sum(doubt is not None for doubt in found) <= 3


def test_evenly_spread_values_have_one_state() -> None:
    assert bimodality([np.linspace(1, 2, 100)], "itl_ms") is None


def test_states_nearer_than_five_percent_are_one() -> None:
    states = np.repeat([10.0, 10.4], 30) + np.tile([0.0, 0.01, 0.02], 20)

    assert bimodality([states], "itl_ms") is None


def test_a_few_outliers_are_no_state() -> None:
    assert bimodality([np.append(np.linspace(10, 10.1, 40), [20, 20.1, 20.2])], "itl_ms") is None


@pytest.mark.parametrize("values", [[], [[]], [[1.0]], [[5.0] * 40], [[0.0] * 40], [[np.nan] * 9]])
def test_what_has_no_states_has_no_caution(values: list[list[float]]) -> None:
    assert bimodality(values, "itl_ms") is None


def test_two_states_of_either_sign_are_found() -> None:
    assert bimodality([np.repeat([-1.0, 1.0], 20)], "growth") is not None


@pytest.mark.parametrize(("share", "doubtful"), [(0.98, False), (1.0, False), (1.02, True)])
def test_more_than_the_ceiling_is_doubtful(share: float, doubtful: bool) -> None:
    figure = Figure(
        metric="itl_ms",
        point="batch=1",
        statistic="p50",
        reading=Reading(value=20.0),
        utilization=Utilization(name="MBU", reading=Reading(value=share)),
    )

    doubts = above_ceiling([figure])

    assert [d.kind for d in doubts] == ([CautionKind.ABOVE_CEILING] if doubtful else [])


def test_an_absent_share_is_not_above_anything() -> None:
    absent = Utilization(name="MFU", reading=Reading.absent("no ceiling"))
    figure = Figure(metric="m", statistic="p50", reading=Reading(value=1.0), utilization=absent)

    assert above_ceiling([figure]) == []
