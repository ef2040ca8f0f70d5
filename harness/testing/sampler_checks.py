"""Does a sampler read what it says it reads? Absent is fine, with a reason; wrong is not."""

from __future__ import annotations

from typing import Any

from harness.contracts import Availability, Sampler
from harness.reading import Reading
from harness.testing.subject import ContractBroken

__all__ = ["SAMPLER_CHECKS"]


def availability_has_a_reason(sampler: Sampler) -> str:
    """Yes, or no with the reason."""
    answer: Any = sampler.availability()
    if not isinstance(answer, Availability):
        raise ContractBroken(f"availability() is {answer!r}, not an Availability")
    if not answer.ok and not answer.reason:
        raise ContractBroken("says no without a reason")
    return "yes" if answer.ok else str(answer.reason)


def quantities_have_units(sampler: Sampler) -> str:
    """At least one quantity, each with a unit."""
    quantities = sampler.quantities()
    if not quantities:
        raise ContractBroken("names no quantity")
    for name, unit in quantities.items():
        if not name or not unit:
            raise ContractBroken(f'quantity "{name}" has the unit "{unit}"')
    return ", ".join(f"{name} [{unit}]" for name, unit in quantities.items())


def readings_match_quantities(sampler: Sampler) -> str:
    """Twice in a row, every quantity and no other; here or absent, even without the sensor."""
    expected = set(sampler.quantities())
    for _ in range(2):
        readings = sampler.read()
        if set(readings) != expected:
            wrong = ", ".join(sorted(set(readings) ^ expected))
            raise ContractBroken(f"quantities and readings differ in: {wrong}")
        for name, reading in readings.items():
            # A Reading itself refuses NaN, infinity and an absent value without reason.
            if not isinstance(reading, Reading):
                raise ContractBroken(f"{name} is {reading!r}, not a Reading")
    absent = sum(r.value is None for r in readings.values())
    return f"{len(readings)} quantities, {absent} absent with a reason"


SAMPLER_CHECKS = {
    "availability has a reason": availability_has_a_reason,
    "quantities have units": quantities_have_units,
    "readings match quantities": readings_match_quantities,
}
