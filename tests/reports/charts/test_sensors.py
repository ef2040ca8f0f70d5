"""Telemetry and energy: counters become rates, spells are marked, energy stands beside latency."""

import pytest

from harness.charts import chart
from harness.store import Run


def test_a_counter_is_drawn_as_its_growth_per_second(watched: Run) -> None:
    data = chart("telemetry").data([watched])

    busy = data[data["panel"] == "cores busy"]
    assert busy["value"].tolist() == pytest.approx([1.5] * len(busy))
    assert set(busy["name"]) == {"machine"}


def test_what_throttled_is_marked_for_as_long_as_it_lasted(watched: Run) -> None:
    data = chart("telemetry").data([watched])

    (spell,) = data[data["kind"] == "throttle"].to_dict("records")
    assert (spell["at"], spell["until"]) == pytest.approx((29.0, 30.0))
    assert chart("telemetry").title(data).startswith("Throttled for 1.0 s")


def test_measured_phases_are_shaded_on_the_axis_of_the_readings(watched: Run) -> None:
    data = chart("telemetry").data([watched])

    phases = data[data["kind"] == "phase"]
    rounds = [r for c in watched.record.cases for r in c.rounds]
    measured = [p for r in rounds for p in r.phases if p.name == "measure"]
    seconds = [(p.end_ns - p.start_ns) / 1e9 for p in measured]
    assert (phases["until"] - phases["at"]).tolist() == pytest.approx(seconds)


def test_energy_stands_at_the_latency_of_its_case_and_point(watched: Run) -> None:
    data = chart("energy").data([watched])

    row = data[(data["point"] == "batch=4")].iloc[0]
    case = watched.record.case(row["case"])
    rate = next(
        f.reading.value
        for f in case.figures
        if f.metric == "decode_tokens_per_s" and f.point == "batch=4"
    )
    assert rate is not None
    assert row["latency"] == pytest.approx(4000 / rate)
    assert row["low"] < row["value"] < row["high"]


def test_a_run_without_sensors_has_neither(sample: Run) -> None:
    assert chart("energy").data([sample]).empty
    assert chart("telemetry").data([sample]).empty
