"""A case's energy by phase and device, over its rounds: what stands in run.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from harness.telemetry.energy_sum import EnergySum
from harness.telemetry.phase_energy import COUNTERS, POWERS, Row, phase_energy, updates_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["case_energy", "idle_watts"]

_AROUND_NS = 1_500_000_000
_Key = tuple[str, str, str, str]


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
    sums: dict[_Key, EnergySum] = {}
    names = [*COUNTERS, *(name for name, _ in POWERS)]
    wanted = frame["quantity"].isin([*names, *(f"{name}_update_s" for name in names)])
    frame = frame[wanted & (frame["case"] == case.id)]
    for record in case.rounds:
        mine = frame[frame["round"] == record.round]
        for (source, device), rows in mine.groupby(["source", "device"], observed=True):
            readings = _rows(rows)
            update_s = updates_of(str(source), readings)
            for phase, start_ns, end_ns, tokens in _windows(record):
                near = _near(readings, start_ns, end_ns)
                start_s, end_s = start_ns / 1e9, end_ns / 1e9
                found = phase_energy(near, start_s, end_s, update_s=update_s)
                key = (phase.name, phase.point, str(source), str(device))
                sums.setdefault(key, EnergySum()).add(found, end_s - start_s, tokens)
    _add_spans(case, sums)
    return [_record(key, summed, idle) for key, summed in sums.items()]


def _add_spans(case: CaseRecord, sums: dict[_Key, EnergySum]) -> None:
    """Add what prefill and decode used, as it was found when each round had ended."""
    for record in case.rounds:
        for span in record.span_energy:
            key = (span.kind, span.point, span.source, span.device)
            energy = Energy(span.joules, span.method, tuple(span.notes))
            sums.setdefault(key, EnergySum()).add(energy, span.seconds, span.tokens)


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


def _near(rows: Sequence[Row], start_ns: int, end_ns: int) -> list[Row]:
    from_s, until_s = (start_ns - _AROUND_NS) / 1e9, (end_ns + _AROUND_NS) / 1e9
    return [row for row in rows if row.after_s >= from_s and row.before_s <= until_s]


def _record(key: _Key, summed: EnergySum, idle: PhaseTelemetry | None) -> EnergyRecord:
    phase, point, source, device = key
    joules, watts = summed.joules, idle_watts(idle, source, device)
    net = net_joules(joules, watts, summed.seconds)
    return EnergyRecord(
        phase=phase,
        point=point,
        source=source,
        device=device,
        rounds=summed.parts,
        seconds=summed.seconds,
        joules=joules,
        net_joules=net,
        tokens=summed.tokens,
        joules_per_token=per_token(joules, summed.tokens),
        net_joules_per_token=per_token(net, summed.tokens),
        method=summed.method,
        idle_watts=watts,
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
