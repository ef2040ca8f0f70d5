"""Scenarios for the NVML sampler as data: a script for the simulator, and what must be said of it.

    python -m harness.testing.nvml_scenarios FILE

plays one in a fresh process and prints each disagreement. The format is in tests/nvmlsim/README.md.
"""

from __future__ import annotations

import math
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.contracts import Quantity, Watched
from harness.reading import Reading
from harness.telemetry.clock_events import throttling
from harness.telemetry.nvml import NvmlSampler
from harness.telemetry.phase_energy import Row, phase_energy
from harness.testing.nvmlsim import SimulatedNvml

__all__ = ["Scenario", "load", "play"]

_TICK_S = 0.02


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expected(_Strict):
    """What a reading of one device at one time must be."""

    at_s: float
    tier: Literal["fast", "slow", "boundary"] = "fast"
    device: str = ""
    values: dict[str, float] = Field(default_factory=dict)
    """To a thousandth."""
    at_least: dict[str, float] = Field(default_factory=dict)
    absent: dict[str, str] = Field(default_factory=dict)
    """Part of the reason."""
    throttled: list[str] | None = None
    """The words for `clock_events_bits`."""


class ExpectedEnergy(_Strict):
    """What must be said of a phase's energy."""

    start_s: float
    end_s: float
    device: str
    index: int = 0
    """The simulator's number of the device, for its truth."""
    method: Literal["counter", "power", ""]
    within: bool = True
    """Whether the truth must lie in the stated interval."""
    bound_percent: float | None = None
    """The bound is below this share of the truth."""
    says: list[str] = Field(default_factory=list)
    """Parts of the notes, or of the reason."""


class Scenario(_Strict):
    """A machine, and what the sampler must say of it."""

    what: str
    script: str = ""
    """`{worker}` stands for the worker's process id."""
    environment: dict[str, str] = Field(default_factory=dict)
    devices: tuple[str, ...] = ()
    """The UUIDs that the case uses; empty: all visible."""
    without: tuple[str, ...] = ()
    """Functions that the library lacks; such a scenario needs a process of its own."""
    library: bool = True
    """False: there is no libnvidia-ml.so.1."""
    unavailable: str | None = None
    """Part of the reason why the sampler is not available; None: it is."""
    watched: list[str] | None = None
    """Exactly these devices have quantities that are read."""
    absent: dict[str, str] = Field(default_factory=dict)
    """Absent from the start: `quantity` or `device/quantity`, and part of the reason."""
    read: list[Expected] = Field(default_factory=list)
    energy: ExpectedEnergy | None = None

    @property
    def alone(self) -> bool:
        """Whether it needs a process of its own."""
        return bool(self.without) or not self.library


def load(path: Path) -> Scenario:
    """Read a scenario; pydantic's ValidationError where it is wrong."""
    return Scenario.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))


def play(scenario: Scenario, simulator: SimulatedNvml | None) -> list[str]:
    """Play a scenario; return each disagreement between what was said and what must be."""
    if simulator is not None:
        simulator.play(f"clock set\n{scenario.script.replace('{worker}', str(os.getpid()))}")
    sampler = (
        NvmlSampler(environment=scenario.environment)
        if simulator is None
        else NvmlSampler(
            environment=scenario.environment, now_ns=simulator.now_ns, sleep=simulator.pass_s
        )
    )
    try:
        return list(_disagreements(scenario, sampler, simulator))
    finally:
        sampler.close()


def _disagreements(
    scenario: Scenario, sampler: NvmlSampler, simulator: SimulatedNvml | None
) -> Iterator[str]:
    reason = sampler.availability().reason
    if (reason is None) != (scenario.unavailable is None):
        yield f"availability: {reason}, expected {scenario.unavailable}"
    elif (scenario.unavailable or "") not in (reason or ""):
        yield f"availability: {reason!r} does not say {scenario.unavailable!r}"
    quantities = sampler.open(Watched(os.getpid(), os.getpid(), scenario.devices))
    yield from _about_quantities(scenario, quantities)
    if simulator is None:
        return
    for expected in scenario.read:
        simulator.set_s(expected.at_s)
        yield from _about_readings(expected, sampler.read(expected.tier))
    if scenario.energy is not None:
        yield from _about_energy(scenario.energy, sampler, simulator)


def _about_quantities(scenario: Scenario, quantities: Sequence[Quantity]) -> Iterator[str]:
    if scenario.watched is not None:
        found = {q.device for q in quantities if q.device and q.reason is None}
        if found != set(scenario.watched):
            yield f"watches {sorted(found)}, expected {sorted(scenario.watched)}"
    reasons = {q.name: q.reason for q in quantities}
    reasons |= {f"{q.device}/{q.name}": q.reason for q in quantities}
    for name, part in scenario.absent.items():
        if part not in (reasons.get(name) or ""):
            yield f"{name}: {reasons.get(name)!r} does not say {part!r}"


def _about_readings(
    expected: Expected, readings: Mapping[tuple[str, str], Reading]
) -> Iterator[str]:
    where = f"at {expected.at_s:g} s, {expected.tier}"
    missing = Reading.absent("was not read")

    def at(name: str) -> Reading:
        return readings.get((expected.device, name), missing)

    for name, value in expected.values.items():
        seen = at(name).value
        if seen is None or not math.isclose(seen, value, rel_tol=1e-3):
            yield f"{where}: {name} is {at(name)!r}, expected {value}"
    for name, least in expected.at_least.items():
        if (at(name).value or 0.0) < least:
            yield f"{where}: {name} is {at(name)!r}, expected at least {least}"
    for name, part in expected.absent.items():
        if part not in (at(name).reason or ""):
            yield f"{where}: {name} is {at(name)!r}, expected absent: {part}"
    if expected.throttled is not None:
        words = list(throttling(at("clock_events_bits").value or 0))
        if words != expected.throttled:
            yield f"{where}: throttled by {words}, expected {expected.throttled}"


def _about_energy(
    expected: ExpectedEnergy, sampler: NvmlSampler, simulator: SimulatedNvml
) -> Iterator[str]:
    rows: list[Row] = []
    at_s = expected.start_s - 1.0
    while at_s < expected.end_s + 1.0:
        simulator.set_s(at_s)
        values = {
            name: reading
            for (device, name), reading in sampler.read("fast").items()
            if device == expected.device
        }
        rows.append(Row(at_s, max(at_s, simulator.now_s()), values))
        at_s = max(at_s + _TICK_S, simulator.now_s())
    updates = {
        name.removesuffix("_update_s"): reading.value
        for (device, name), reading in sampler.read("boundary").items()
        if device == expected.device and name.endswith("_update_s") and reading.value is not None
    }
    found = phase_energy(rows, expected.start_s, expected.end_s, update_s=updates)
    yield from _about_found(expected, found, simulator)


def _about_found(expected: ExpectedEnergy, found: Any, simulator: SimulatedNvml) -> Iterator[str]:
    if found.method != expected.method:
        yield f"energy by {found.method!r}, expected {expected.method!r}: {found}"
    said = "; ".join([*found.notes, found.joules.reason or ""])
    for part in expected.says:
        if part not in said:
            yield f"energy: {said!r} does not say {part!r}"
    true_j = simulator.true_joules(expected.index, expected.start_s, expected.end_s)
    low, high = found.joules.low, found.joules.high
    if expected.method and expected.within and not (low or 0) <= true_j <= (high or 0):
        yield f"energy: {true_j:.2f} J are not within {low} to {high}"
    if expected.bound_percent is not None:
        percent = 100 * (found.bound_j or math.inf) / true_j
        if percent >= expected.bound_percent:
            yield f"energy: bound of {percent:.2f} %, expected below {expected.bound_percent} %"


def main() -> None:
    """Play the scenario named on the command line with the NVML that this process finds."""
    found = play(load(Path(sys.argv[1])), None)
    print("\n".join(found))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
