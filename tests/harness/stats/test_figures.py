from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cautions import Caution, CautionKind
from harness.metrics import Metric, Statistic
from harness.reading import Reading
from harness.stats.figures import RoundSamples, figures
from harness.store.record import Figure


def metric(name: str = "itl_ms", *statistics: Statistic, **more: object) -> Metric:
    given = {"unit": "ms", "better": "lower", "definition": "d", "pooled": "per gap"} | more
    return Metric.model_validate({"name": name, "statistics": statistics or ("p50",)} | given)


def rounds(*samples: Sequence[float], name: str = "itl_ms", point: str = "") -> list[RoundSamples]:
    return [
        RoundSamples(i, 100 + i, {(point, name): np.asarray(x, dtype=float)})
        for i, x in enumerate(samples)
    ]


def nothing(_: Mapping[tuple[str, str], Reading]) -> dict[str, Reading]:
    return {}


def only(found: tuple[list[Figure], list[Caution]]) -> Figure:
    (figure,) = found[0]
    return figure


def test_the_headline_is_the_centre_of_processes_medians() -> None:
    figure = only(figures([metric()], rounds([8, 10, 90], [10, 10], [10, 10, 10]), nothing))

    assert (figure.metric, figure.statistic) == ("itl_ms", "p50")
    assert figure.reading == Reading(value=10, low=10, high=10, n=8, processes=3)


def test_a_process_with_more_samples_weighs_no_more() -> None:
    figure = only(figures([metric()], rounds([1.0] * 1000, [100.0]), nothing))

    assert figure.reading.value == pytest.approx(10.0)


def test_tails_pool_all_processes_and_say_how_many_samples_they_lack() -> None:
    found, _ = figures(
        [metric("itl_ms", "p50", "p90", "p99")], rounds(*[range(1, 41)] * 3), nothing
    )

    p50, p90, p99 = (f.reading for f in found)
    assert p50.value == pytest.approx(20.5)
    assert (p90.n, p90.processes) == (120, 3)
    assert p99.reason is not None
    assert p99.reason.startswith("needs 368 samples, has 120")


@pytest.mark.parametrize(("statistic", "value"), [("mean", 4.0), ("min", 1.0), ("max", 9.0)])
def test_other_statistics_are_taken_within_each_process(statistic: Statistic, value: float) -> None:
    figure = only(
        figures([metric("m", statistic)], rounds([1, 2, 9], [1, 2, 9], name="m"), nothing)
    )

    assert figure.reading.value == pytest.approx(value)


def test_an_exact_quantity_of_one_process_needs_no_interval() -> None:
    figure = only(
        figures([metric("peak_bytes", "once")], rounds([512], name="peak_bytes"), nothing)
    )

    assert figure.reading.value == 512
    assert figure.reading.no_interval == "observed once, in one process"


def test_a_process_without_samples_is_left_out() -> None:
    figure = only(figures([metric()], rounds([10.0], [], [10.0]), nothing))

    assert figure.reading.processes == 2


@pytest.mark.parametrize("samples", [[], [[]], [[], []]])
def test_without_any_sample_the_figure_is_absent(samples: list[list[float]]) -> None:
    figure = only(figures([metric()], rounds(*samples), nothing))

    assert figure.reading.value is None


@pytest.mark.parametrize("statistic", ["p50", "p90", "min", "max", "mean", "once"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_is_a_reason(statistic: Statistic, bad: float) -> None:
    figure = only(figures([metric("m", statistic)], rounds([1.0] * 50 + [bad], name="m"), nothing))

    assert figure.reading.reason == "a process gave a value that is not finite"


def test_zero_and_negative_values_are_figures_too() -> None:
    growth = metric("growth_bytes", "once")

    figure = only(figures([growth], rounds([0.0], [-4096.0], name="growth_bytes"), nothing))

    assert figure.reading.value == -2048


def test_points_stay_apart_and_in_the_order_measured() -> None:
    both = {
        ("batch=8", "itl_ms"): np.array([80.0]),
        ("batch=16", "itl_ms"): np.array([160.0]),
    }

    found, _ = figures([metric()], [RoundSamples(0, 1, both)], nothing)

    assert [(f.point, f.reading.value) for f in found] == [("batch=8", 80), ("batch=16", 160)]


def test_derived_figures_come_from_the_headlines_of_all_points() -> None:
    def derive(headline: Mapping[tuple[str, str], Reading]) -> dict[str, Reading]:
        return {"knee": Reading(value=headline["itl_ms", "b"].value)}

    found, _ = figures([metric(), metric("knee")], rounds([7.0], point="b"), derive)

    assert [(f.metric, f.point, f.reading.value) for f in found] == [
        ("itl_ms", "b", 7.0),
        ("knee", "", 7.0),
    ]


def test_a_metric_that_was_not_measured_is_said_to_be_absent() -> None:
    found, _ = figures([metric(), metric("max_batch")], rounds([7.0]), nothing)

    assert found[1].reading.reason == "not measured here"


RATE = metric("decode_bytes_per_s", unit="bytes/s", better="higher", ceiling="read_bytes_per_s")
ITL = metric("itl_ms", "p50", "p90", achieved="decode_bytes_per_s", primary=True)


def with_ceiling(rate: float, ceiling: Reading | None) -> RoundSamples:
    return RoundSamples(
        0,
        1,
        {
            ("", "itl_ms"): np.array([20.0]),
            ("", "decode_bytes_per_s"): np.array([rate]),
        },
        {"read_bytes_per_s": ceiling} if ceiling else {},
    )


def test_mbu_is_the_rate_over_the_ceiling_of_the_same_process() -> None:
    fast = with_ceiling(12e9, Reading(value=20e9))
    slow = with_ceiling(6e9, Reading(value=10e9))

    found, doubts = figures([ITL, RATE], [fast, slow], nothing)

    headline, tail, rate = found
    for figure in (headline, rate):
        assert figure.utilization is not None
        assert figure.utilization.name == "MBU"
        assert figure.utilization.reading.value == pytest.approx(0.6)
    assert tail.utilization is None
    assert doubts == []


def test_mfu_is_named_by_its_ceiling() -> None:
    rate = RATE.model_copy(update={"ceiling": "gemm_flop_per_s"})
    samples = [with_ceiling(1.0, None)]

    found, _ = figures([rate], samples, nothing)

    assert found[0].utilization is not None
    assert found[0].utilization.name == "MFU"
    assert found[0].utilization.reading.reason == "the ceiling was not measured"


def test_a_process_without_ceiling_is_left_out_of_the_share() -> None:
    samples = [with_ceiling(6e9, Reading(value=10e9)), with_ceiling(6e9, Reading.absent("no room"))]

    found, _ = figures([ITL, RATE], samples, nothing)

    assert found[0].utilization is not None
    assert found[0].utilization.reading.processes == 1


@pytest.mark.parametrize(
    ("ceiling", "reason"),
    [(Reading.absent("no room"), "no room"), (Reading(value=0.0), "measured as zero")],
)
def test_without_a_usable_ceiling_the_share_says_why(ceiling: Reading, reason: str) -> None:
    found, _ = figures([ITL, RATE], [with_ceiling(6e9, ceiling)], nothing)

    assert found[0].utilization is not None
    assert reason in (found[0].utilization.reading.reason or "")


def test_a_share_above_one_is_doubted() -> None:
    _, doubts = figures([ITL, RATE], [with_ceiling(12e9, Reading(value=10e9))], nothing)

    assert {(d.kind, d.metric) for d in doubts} == {
        (CautionKind.ABOVE_CEILING, "itl_ms"),
        (CautionKind.ABOVE_CEILING, "decode_bytes_per_s"),
    }


def test_two_states_of_the_primary_metric_are_named() -> None:
    _, doubts = figures([ITL], rounds([15.7, 15.8] * 8, [19.4, 19.5] * 8), nothing)

    assert [(d.kind, d.metric) for d in doubts] == [(CautionKind.BIMODAL, "itl_ms")]


# No quantity is larger than 1e100 in any unit; NaN and infinity do come out of divisions.
ANY_SAMPLE = st.floats(-1e100, 1e100) | st.sampled_from([float("nan"), float("inf")])


@given(st.lists(st.lists(ANY_SAMPLE, max_size=45), max_size=4))
def test_whatever_was_sampled_each_figure_has_a_value_or_a_reason(
    samples: list[list[float]],
) -> None:
    every = metric("itl_ms", "p50", "p90", "p99", "mean", "min", "max", "once", primary=True)

    found, _ = figures([every], rounds(*samples), nothing)  # Reading itself refuses NaN

    assert all((f.reading.value is None) == (f.reading.reason is not None) for f in found)
