"""Idle power from what was watched before a run, and sums over rounds of which one is blind."""

import pandas as pd
import pytest

from harness.store.record import (
    CaseRecord,
    PhaseRecord,
    PhaseTelemetry,
    QuantityRecord,
    RoundRecord,
)
from harness.telemetry.case_energy import case_energy, idle_watts

_S = 1_000_000_000


def _idle(quantity: str, **figures: float) -> PhaseTelemetry:
    found = QuantityRecord(
        source="nvml", device="GPU-a", quantity=quantity, unit="", kind="gauge", n=9, **figures
    )
    return PhaseTelemetry(
        phase="idle", rounds=1, seconds=2.0, missed=0, rate_hz=20, quantities=[found]
    )


def test_idle_power_is_the_counters_share_of_the_time() -> None:
    found = idle_watts(_idle("energy_j", total=140.0, bound=4.0), "nvml", "GPU-a")
    assert (found.value, found.low, found.high) == (70, 68, 72)


def test_without_a_counter_idle_power_is_the_sensors_mean() -> None:
    found = idle_watts(_idle("power_instant_w", mean=65.0, bound=1.0), "nvml", "GPU-a")
    assert (found.value, found.low, found.high) == (65, 64, 66)


def test_idle_power_that_was_not_watched_is_a_reason() -> None:
    assert "not watched" in str(idle_watts(None, "nvml", "GPU-a").reason)
    assert "no power or energy" in str(idle_watts(_idle("x", mean=1.0), "nvml", "GPU-a").reason)


def _round(number: int, start_s: int) -> RoundRecord:
    phase = PhaseRecord(name="load", start_ns=start_s * _S, end_ns=(start_s + 2) * _S)
    return RoundRecord(round=number, status="done", started_at="", order=0, phases=[phase])


def _readings(number: int, start_s: int, watts: float, until_s: int) -> list[dict[str, object]]:
    """A counter read every 20 ms, from a second before `start_s` on."""
    return [
        {
            "case": "c", "round": number, "source": "nvml", "device": "GPU-a",
            "quantity": "energy_j", "value": 1000 + watts * tick / 50, "reason": None,
            "time_ns": start_s * _S - _S + tick * _S // 50, "call_ns": 100_000,
        }
        for tick in range((until_s - start_s + 1) * 50)
    ]  # fmt: skip


def _case(*rounds: RoundRecord) -> CaseRecord:
    return CaseRecord(
        id="c", model="m", backend="b", scenario="s", scenario_version=1, rounds=list(rounds)
    )


def test_a_phase_is_summed_over_its_rounds() -> None:
    frame = pd.DataFrame(_readings(0, 10, 100, 13) + _readings(1, 20, 150, 23))
    (energy,) = case_energy(_case(_round(0, 10), _round(1, 20)), frame, None)
    assert (energy.phase, energy.device, energy.rounds, energy.seconds) == ("load", "GPU-a", 2, 4)
    assert energy.joules.low is not None
    assert energy.joules.high is not None
    assert energy.joules.low <= 500 <= energy.joules.high
    assert energy.joules.value == pytest.approx(500, rel=0.02)
    assert energy.joules_per_token.reason == "no token was made"


def test_a_sum_of_which_one_round_is_blind_is_absent() -> None:
    frame = pd.DataFrame(_readings(0, 10, 100, 13) + _readings(1, 20, 150, 21))
    (energy,) = case_energy(_case(_round(0, 10), _round(1, 20)), frame, None)
    assert energy.joules.value is None
    assert "before the phase's end" in str(energy.joules.reason)


def test_readings_that_are_absent_are_passed_over_with_their_reason() -> None:
    rows = _readings(0, 10, 100, 13)
    lost = [{**row, "value": None, "reason": "the GPU is lost"} for row in rows]
    frame = pd.DataFrame(lost).astype({"value": "Float64"})  # as the store gives them: NA, not NaN
    (energy,) = case_energy(_case(_round(0, 10)), frame, None)
    assert "the GPU is lost" in str(energy.joules.reason)


def test_a_machine_without_power_sensors_has_no_energy() -> None:
    frame = pd.DataFrame(_readings(0, 10, 100, 13)).assign(quantity="busy_s")
    assert case_energy(_case(_round(0, 10)), frame, None) == []
