"""A phase's energy from one device's readings: by its counter, or else by its power, said so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.reading import Reading
from harness.telemetry.counter_energy import counter_energy
from harness.telemetry.energy import Count, Energy, Watts
from harness.telemetry.power_energy import power_energy

__all__ = ["COUNTERS", "POWERS", "Row", "phase_energy", "updates_of"]

# In the order they are trusted: name and the sensor's averaging window, s.
POWERS = (("power_instant_w", 0.0), ("power_average_w", 1.0), ("power_usage_w", 1.0))
COUNTERS = ("energy_j", "boundary_energy_j")
_RAPL_UPDATE_S = 0.002  # about 1 ms by Intel's manual (SDM 3B, 15.10), the kernel's reading added


@dataclass(frozen=True, slots=True)
class Row:
    """Quantities of one device that were read together, between two moments, s."""

    before_s: float
    after_s: float
    values: Mapping[str, Reading]


def phase_energy(
    rows: Sequence[Row],
    start_s: float,
    end_s: float,
    *,
    update_s: Mapping[str, float] | None = None,
) -> Energy:
    """Return what a device used between two moments; where it has no counter, power summed up.

    Args:
        rows: In order of time, from about a second before `start_s` to a second after `end_s`.
        start_s: The phase's beginning, on the clock of the rows.
        end_s: The phase's end.
        update_s: Longest time between updates by quantity, as measured; others are unknown.
    """
    periods = update_s or {}
    powers = {name: _watts(rows, name) for name, _ in POWERS}
    counts = [
        Count(row.before_s, row.after_s, reading.value)
        for row in rows
        for name in COUNTERS
        if (reading := row.values.get(name)) is not None and reading.value is not None
    ]
    period = periods.get("energy_j")
    energy = counter_energy(
        counts, start_s, end_s, update_s=period, watts=powers["power_instant_w"]
    )
    if energy.joules.value is not None:
        return energy
    why = _reason(rows, "energy_j") if not counts else energy.joules.reason
    for name, window_s in POWERS:
        summed = power_energy(
            powers[name], start_s, end_s, window_s=window_s, update_s=periods.get(name)
        )
        if summed.joules.value is not None:
            return replace(summed, notes=(f"no counter: {why}", f"from {name}", *summed.notes))
    reason = f"no counter: {why}; no power: {_reason(rows, 'power_instant_w')}"
    return Energy(Reading.absent(reason), "")


def _watts(rows: Sequence[Row], name: str) -> list[Watts]:
    return [
        Watts(row.before_s, row.after_s, reading.value)
        for row in rows
        if (reading := row.values.get(name)) is not None and reading.value is not None
    ]


def _reason(rows: Sequence[Row], name: str) -> str:
    for row in rows:
        reading = row.values.get(name)
        if reading is not None and reading.reason:
            return reading.reason
    return f"{name} was not read around the phase"


def updates_of(source: str, rows: Sequence[Row]) -> dict[str, float]:
    """Return how often each quantity's sensor changes, as the sampler measured or as documented."""
    if source == "rapl":
        return dict.fromkeys(COUNTERS, _RAPL_UPDATE_S)
    return {
        name.removesuffix("_update_s"): reading.value
        for row in rows
        for name, reading in row.values.items()
        if name.endswith("_update_s") and reading.value is not None
    }
