import itertools
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from harness.contracts import Lab, Observation, Point
from harness.errors import SessionError, SpecError
from harness.model import PRESETS
from harness.reading import Reading
from harness.testing import (
    Delays,
    FakeClock,
    FakeSession,
    fake_continuation,
    scenario_conformance,
)
from scenarios.rates import decode_read_bytes
from scenarios.throughput import ThroughputOptions, ThroughputScenario
from scenarios.workload import Fixed

TINY = PRESETS["tiny"]
DELAYS = Delays(prefill_ns=20_000_000, prompt_token_ns=100_000, decode_ns=5_000_000)
OPTIONS = ThroughputOptions(batch=(1, 3), prompt_tokens=Fixed(tokens=10), new_tokens=5)


def observe(
    session: FakeSession, lab: Lab, batch: int = 3, options: ThroughputOptions = OPTIONS
) -> Observation:
    scenario = ThroughputScenario()
    point = Point(batch=batch, context=64, label=f"batch={batch}")
    session.prepare(point.batch, point.context)
    return next(itertools.islice(scenario.measure(session, point, options, lab), 1))


def test_it_keeps_the_contract_of_scenarios() -> None:
    broken = [f for f in scenario_conformance(ThroughputScenario(), OPTIONS) if not f.ok]

    assert broken == []


def test_declared_delays_give_exact_rates(clock: FakeClock, make_lab: Callable[..., Lab]) -> None:
    seen = observe(FakeSession(clock, DELAYS), make_lab()).values

    assert seen["prefill_tokens_per_s"] == pytest.approx([3 * 10 / 0.021])
    assert seen["decode_tokens_per_s"] == pytest.approx([3 * 4 / 0.020])
    assert seen["total_tokens_per_s"] == pytest.approx([3 * (10 + 5) / 0.041])
    assert seen["prefill_flop_per_s"] == pytest.approx([3 * TINY.prefill_flops(10) / 0.021])
    read = decode_read_bytes(TINY, "float32", [10] * 3, 4)
    assert seen["decode_bytes_per_s"] == pytest.approx([read / 0.020])


def test_nobody_looks_at_single_tokens(clock: FakeClock, make_lab: Callable[..., Lab]) -> None:
    session = FakeSession(clock, DELAYS)

    observe(session, make_lab())

    # One before the window, one after prefill, one after decode.
    assert session.calls["synchronize"] == 3
    assert session.calls["decode"] == 4


def test_work_that_only_synchronize_finishes_is_inside_the_window(
    clock: FakeClock, make_lab: Callable[..., Lab]
) -> None:
    class Asynchronous(FakeSession):
        """Submits at once; the time passes when somebody waits, as on a GPU."""

        owed = 0

        def decode(self) -> Any:
            self.owed += 5_000_000
            return super().decode()

        def synchronize(self) -> None:
            super().synchronize()
            self.clock.pass_ns(self.owed)
            self.owed = 0

    submitting = Delays(prefill_ns=20_000_000, decode_ns=1000)

    seen = observe(Asynchronous(clock, submitting), make_lab()).values

    assert seen["decode_tokens_per_s"] == pytest.approx([3 * 4 / 0.020004])


def test_transcripts_hold_every_row_and_rows_differ(
    clock: FakeClock, make_lab: Callable[..., Lab]
) -> None:
    transcripts = observe(FakeSession(clock, DELAYS), make_lab()).transcripts

    assert len({t.prompt_ids for t in transcripts}) == 3
    for transcript in transcripts:
        assert list(transcript.token_ids) == fake_continuation(transcript.prompt_ids, 5)


def test_rows_may_have_prompts_of_different_length(
    clock: FakeClock, make_lab: Callable[..., Lab]
) -> None:
    ragged = ThroughputOptions.model_validate(
        {"prompt_tokens": {"distribution": "uniform", "low": 2, "high": 40}, "new_tokens": 5}
    )

    seen = observe(FakeSession(clock, DELAYS), make_lab(), batch=4, options=ragged)

    lengths = [len(t.prompt_ids) for t in seen.transcripts]
    assert len(set(lengths)) > 1
    prefill_s = 0.020 + 0.0001 * max(lengths)
    assert seen.values["prefill_tokens_per_s"] == pytest.approx([sum(lengths) / prefill_s])


def test_a_session_that_takes_no_time_is_an_error(
    clock: FakeClock, make_lab: Callable[..., Lab]
) -> None:
    with pytest.raises(SessionError, match="no time passed"):
        observe(FakeSession(clock), make_lab())


def test_each_batch_is_a_point() -> None:
    points = ThroughputScenario().points(OPTIONS, TINY)

    assert [(p.batch, p.context, p.label) for p in points] == [
        (1, 15, "batch=1"),
        (3, 15, "batch=3"),
    ]


def test_a_single_batch_may_be_a_number_and_repeats_are_one() -> None:
    assert ThroughputOptions(batch=4).batch == (4,)
    assert ThroughputOptions(batch=(4, 1, 4)).batch == (1, 4)


@pytest.mark.parametrize(
    "options", [{"batch": []}, {"batch": [0]}, {"batch": 0}, {"new_tokens": 1}, {"batches": [1]}]
)
def test_options_that_mean_nothing_are_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ThroughputOptions.model_validate(options)


def test_rows_longer_than_the_context_are_an_error() -> None:
    options = ThroughputOptions(prompt_tokens=Fixed(tokens=1020), new_tokens=5)

    with pytest.raises(SpecError, match="at most the model's context of 1024"):
        ThroughputScenario().points(options, TINY)


def derive(**rates: float | None) -> dict[str, Reading]:
    """Derive from a sweep given as `b8=500.0` (batch 8 decodes 500 tokens/s)."""
    headline = {
        ("decode_tokens_per_s", f"batch={name[1:]}"): Reading.absent("failed")
        if rate is None
        else Reading(value=rate, low=rate - 1, high=rate + 1)
        for name, rate in rates.items()
    }
    return dict(ThroughputScenario().derive(headline))


def test_the_knee_is_where_a_further_row_stops_paying_half() -> None:
    found = derive(b1=100.0, b2=195.0, b4=370.0, b8=480.0, b16=500.0)

    assert found["knee_batch"].value == 4  # 87 % per row up to 4, then 27 %


def test_saturation_is_the_smallest_batch_that_larger_ones_hardly_beat() -> None:
    found = derive(b1=100.0, b2=195.0, b4=370.0, b8=480.0, b16=500.0)

    assert found["saturation_batch"].value == 8
    assert found["saturation_tokens_per_s"] == Reading(value=480, low=479, high=481)


def test_a_sweep_that_still_rises_has_neither_and_says_so() -> None:
    found = derive(b1=100.0, b4=380.0)

    assert "not reached by batch 4" in (found["knee_batch"].reason or "")
    assert "93%" in (found["knee_batch"].reason or "")
    assert "380 tokens/s" in (found["saturation_tokens_per_s"].reason or "")


def test_throughput_that_falls_is_saturated_before() -> None:
    found = derive(b1=100.0, b2=150.0, b4=120.0)

    assert found["saturation_batch"].value == 2
    assert found["knee_batch"].value == 2


def test_a_batch_without_a_figure_is_left_out() -> None:
    found = derive(b1=100.0, b2=None, b4=110.0, b8=111.0)

    assert found["knee_batch"].value == 1
    assert found["saturation_batch"].value == 4


def test_batches_are_ordered_as_numbers() -> None:
    assert derive(b16=400.0, b2=200.0, b1=100.0)["knee_batch"].value == 2


@pytest.mark.parametrize("rates", [{}, {"b1": 100.0}])
def test_one_batch_has_no_knee(rates: dict[str, float]) -> None:
    assert all(reading.value is None for reading in derive(**rates).values())
