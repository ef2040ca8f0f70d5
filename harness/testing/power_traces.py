"""Random loads with a known energy, played on the simulated NVML: how far is an estimate off?

A trace is idle, then one phase under a load that changes every few to hundreds of milliseconds,
then idle. The sensors' update periods, windows and phases are random too. An estimator sees only
the sensors; the truth is the simulator's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from harness.telemetry.counter_energy import counter_energy
from harness.telemetry.energy import Count, Energy, Watts
from harness.telemetry.gauges import FIELDS, read_fields
from harness.telemetry.nvml_door import Nvml, RefusedError
from harness.testing.nvmlsim import SimulatedNvml

__all__ = ["Outcome", "Trace", "play", "random_trace"]

_NAMES = ("power_instant_w", "power_average_w", "energy_j")
_READ = [field for field in FIELDS if field.name in _NAMES]


@dataclass(frozen=True)
class Trace:
    """A load and the sensors that see it."""

    script: str
    start_s: float
    end_s: float
    update_s: float
    """Of the energy counter."""
    tick_s: float
    """How often everything is read."""
    jitter: int
    """Seeds how late each reading is and how long it takes."""


@dataclass(frozen=True)
class Outcome:
    """What was said of a trace, and what was true."""

    trace: Trace
    true_j: float
    energy: Energy
    naive_instant_j: float
    """Instant power times tick, summed over the readings within the phase."""
    naive_average_j: float
    """The same from the 1-second average that `nvmlDeviceGetPowerUsage` gives."""

    @property
    def error_j(self) -> float:
        """Of the estimate."""
        assert self.energy.joules.value is not None, self.energy.joules.reason
        return self.energy.joules.value - self.true_j

    @property
    def within(self) -> bool:
        """Whether the truth lies in the stated interval."""
        return self.energy.bound_j is not None and abs(self.error_j) <= self.energy.bound_j


def random_trace(random: Random, updates_s: Sequence[float] = (0.01, 0.02, 0.05, 0.1)) -> Trace:
    """Return a trace; the same for the same state of `random`."""
    idle_w, busy_w = random.uniform(40, 90), random.uniform(200, 700)
    update_s, power_s = random.choice(updates_s), random.choice((0.02, 0.05, 0.1))
    start_s = random.uniform(1.2, 1.4)
    end_s = start_s + random.choice((0.5, 1, 2, 2.5, 4, 6)) * random.uniform(1, 1.1)
    lines = [
        "clock set",
        "device 0",
        f"at 0 0 power={idle_w:.3f}",
        f"sensor 0 energy period={update_s * 1e3:g} phase={random.uniform(0, update_s * 1e3):g}",
        f"sensor 0 power.instant period={power_s * 1e3:g} window=25",
        f"sensor 0 power.instant phase={random.uniform(0, power_s * 1e3):g}",
        "sensor 0 power.average period=100 window=1000",
    ]
    at_s = start_s + random.uniform(-0.01, 0.03)
    level_w = busy_w
    while at_s < end_s - 0.02:
        lines.append(f"{random.choice(('at', 'at', 'to'))} 0 {at_s:.6f} power={level_w:.3f}")
        at_s += random.choice((0.01, 0.03, 0.1, 0.4, 1.0)) * random.uniform(0.5, 1.5)
        level_w = busy_w * random.uniform(0.6, 1.05)
    lines.append(f"at 0 {max(at_s, end_s) + random.uniform(0, 0.02):.6f} power={idle_w:.3f}")
    return Trace(
        "\n".join(lines), start_s, end_s, update_s, random.choice((0.02, 0.05)),
        random.randrange(2**32),
    )  # fmt: skip


def play(simulator: SimulatedNvml, trace: Trace) -> Outcome:
    """Read a trace as the sampler would, late and unevenly, and estimate its phase's energy."""
    simulator.play(trace.script)
    nvml = Nvml(simulator.now_ns)
    nvml.start()
    try:
        rows = _read_all(simulator, nvml, trace)
    finally:
        nvml.stop()
    energy = counter_energy(
        [Count(before, after, values["energy_j"]) for before, after, values in rows],
        trace.start_s,
        trace.end_s,
        # As measured by polling every millisecond: a little above the truth.
        update_s=trace.update_s + 0.002,
        watts=[Watts(before, after, values["power_instant_w"]) for before, after, values in rows],
    )
    inside = [values for before, _, values in rows if trace.start_s <= before < trace.end_s]
    return Outcome(
        trace,
        simulator.true_joules(0, trace.start_s, trace.end_s),
        energy,
        sum(values["power_instant_w"] for values in inside) * trace.tick_s,
        sum(values["power_average_w"] for values in inside) * trace.tick_s,
    )


def _read_all(
    simulator: SimulatedNvml, nvml: Nvml, trace: Trace
) -> list[tuple[float, float, dict[str, float]]]:
    handle: Any = nvml.call("nvmlDeviceGetHandleByIndex", 0)
    late = Random(trace.jitter)  # noqa: S311  # not for secrets
    rows = []
    at_s = trace.start_s - 1.0
    while at_s < trace.end_s + 0.8:
        before_s = at_s + late.uniform(0, 0.0015)
        took_s = late.uniform(2e-5, 4e-4)
        simulator.set_s(before_s + took_s * late.random())
        values = read_fields(nvml, handle, _READ)
        rows.append((before_s, before_s + took_s, _numbers(values)))
        at_s += trace.tick_s
    return rows


def _numbers(values: Any) -> dict[str, float]:
    for value in values.values():
        if isinstance(value, RefusedError):
            raise value
    return dict(values)
