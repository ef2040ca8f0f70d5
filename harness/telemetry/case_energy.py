"""A case's energy by phase and device, over its rounds: what stands in run.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.reading import Reading
from harness.store.record import (
    CaseRecord,
    EnergyRecord,
    PhaseRecord,
    PhaseTelemetry,
    RoundRecord,
)
from harness.telemetry.energy import Energy, net_joules, per_token
from harness.telemetry.phase_energy import COUNTERS, POWERS, Row, phase_energy

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["case_energy", "idle_watts"]

_AROUND_NS = 1_500_000_000
_RAPL_UPDATE_S = 0.002  # about 1 ms by Intel's manual (SDM 3B, 15.10), the kernel's reading added
_Key = tuple[str, str, str, str]


@dataclass
class _Sum:
    """Energy of one phase and device, over the rounds so far."""

    seconds: float = 0.0
    tokens: int = 0
    rounds: int = 0
    value: float = 0.0
    low: float = 0.0
    high: float = 0.0
    methods: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    reason: str | None = None

    def add(self, energy: Energy, seconds: float, tokens: int) -> None:
        joules = energy.joules
        self.seconds += seconds
        self.tokens += tokens
        self.rounds += 1
        self.methods[energy.method] = None
        self.notes |= dict.fromkeys(energy.notes)
        if joules.value is None or joules.low is None or joules.high is None:
            self.reason = joules.reason  # a sum with a part missing is no sum
            return
        self.value += joules.value
        self.low += joules.low
        self.high += joules.high

    def joules(self) -> Reading:
        if self.reason is not None:
            return Reading.absent(self.reason)
        return Reading(value=self.value, low=self.low, high=self.high)


def case_energy(
    case: CaseRecord, frame: pd.DataFrame, idle: PhaseTelemetry | None
) -> list[EnergyRecord]:
    """Return the energy of each phase of a case on each device that shows energy or power.

    The phase `measure` is cut to its steady iterations, those whose tokens are counted.

    Args:
        case: With its rounds.
        frame: Readings of the run, as `Run.telemetry`.
        idle: What the machine did before the first worker, for net figures.
    """
    sums: dict[_Key, _Sum] = {}
    names = [*COUNTERS, *(name for name, _ in POWERS)]
    wanted = frame["quantity"].isin([*names, *(f"{name}_update_s" for name in names)])
    frame = frame[wanted & (frame["case"] == case.id)]
    for record in case.rounds:
        mine = frame[frame["round"] == record.round]
        for (source, device), rows in mine.groupby(["source", "device"], observed=True):
            readings = _rows(rows)
            update_s = _updates(str(source), readings)
            for phase, start_ns, end_ns, tokens in _windows(record):
                near = _near(readings, start_ns, end_ns)
                start_s, end_s = start_ns / 1e9, end_ns / 1e9
                found = phase_energy(near, start_s, end_s, update_s=update_s)
                key = (phase.name, phase.point, str(source), str(device))
                sums.setdefault(key, _Sum()).add(found, end_s - start_s, tokens)
    return [_record(key, summed, idle) for key, summed in sums.items()]


def _windows(record: RoundRecord) -> Iterator[tuple[PhaseRecord, int, int, int]]:
    """Yield each phase with its window and the tokens made in it."""
    points = {point.label: point for point in record.points}
    for phase in record.phases:
        point = points.get(phase.point)
        if phase.name == "measure" and point is not None and len(point.iterations_ns) > 1:
            start_ns = point.iterations_ns[point.warmup_iterations]
            yield phase, start_ns, point.iterations_ns[-1], point.new_tokens
        elif phase.end_ns > phase.start_ns:
            yield phase, phase.start_ns, phase.end_ns, 0


def _rows(frame: pd.DataFrame) -> list[Row]:
    """Return what was read together as rows, in order of time."""
    found: dict[tuple[int, int], dict[str, Reading]] = {}
    names = ("time_ns", "call_ns", "quantity", "value", "reason")
    columns = (*(frame[name] for name in names), frame["value"].notna())
    for time_ns, call_ns, name, value, reason, known in zip(*columns, strict=True):
        here = found.setdefault((int(time_ns), int(call_ns)), {})
        here[str(name)] = Reading(value=value) if known else Reading.absent(str(reason))
    return [
        Row((time_ns - call_ns / 2) / 1e9, (time_ns + call_ns / 2) / 1e9, values)
        for (time_ns, call_ns), values in sorted(found.items())
    ]


def _updates(source: str, rows: Sequence[Row]) -> dict[str, float]:
    """Return how often each quantity's sensor changes, as the sampler measured or as documented."""
    if source == "rapl":
        return dict.fromkeys(COUNTERS, _RAPL_UPDATE_S)
    return {
        name.removesuffix("_update_s"): reading.value
        for row in rows
        for name, reading in row.values.items()
        if name.endswith("_update_s") and reading.value is not None
    }


def _near(rows: Sequence[Row], start_ns: int, end_ns: int) -> list[Row]:
    from_s, until_s = (start_ns - _AROUND_NS) / 1e9, (end_ns + _AROUND_NS) / 1e9
    return [row for row in rows if row.after_s >= from_s and row.before_s <= until_s]


def _record(key: _Key, summed: _Sum, idle: PhaseTelemetry | None) -> EnergyRecord:
    phase, point, source, device = key
    joules = summed.joules()
    net = net_joules(joules, idle_watts(idle, source, device), summed.seconds)
    return EnergyRecord(
        phase=phase,
        point=point,
        source=source,
        device=device,
        rounds=summed.rounds,
        seconds=summed.seconds,
        joules=joules,
        net_joules=net,
        tokens=summed.tokens,
        joules_per_token=per_token(joules, summed.tokens),
        net_joules_per_token=per_token(net, summed.tokens),
        method=" and ".join(filter(None, summed.methods)),
        notes=list(summed.notes),
    )


def idle_watts(idle: PhaseTelemetry | None, source: str, device: str) -> Reading:
    """Return a device's power before the first worker started: its counter's, or its sensor's."""
    if idle is None:
        return Reading.absent("the machine was not watched before the run")
    mine = {q.quantity: q for q in idle.quantities if (q.source, q.device) == (source, device)}
    for name in COUNTERS:
        counted = mine.get(name)
        if counted is not None and counted.total and idle.seconds > 0:
            watts = counted.total / idle.seconds
            off = (counted.bound or 0.0) / idle.seconds
            return Reading(value=watts, low=max(0.0, watts - off), high=watts + off)
    for name, _ in POWERS:
        read = mine.get(name)
        if read is not None and read.mean is not None:
            off = read.bound or 0.0
            return Reading(value=read.mean, low=max(0.0, read.mean - off), high=read.mean + off)
    return Reading.absent("no power or energy of it was read before the run")
