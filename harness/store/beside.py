"""What stands beside a case's figures: when it was ready, energy, memory, what disturbed it.

Rows of words, for the terminal, the page and the Markdown alike. What a machine cannot say is said
once for the run, not at every case.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.reading import Reading
from harness.shown import quantity, spread
from harness.store.record import CaseRecord, EnergyRecord, RoundRecord, RunRecord
from harness.store.view import machine_words

__all__ = ["Beside", "beside", "no_energy"]

_SHOWN = {
    "measure": "energy per token",
    "prefill": "prefill, per prompt token",
    "decode": "decode, per token",
}
"""Phases whose energy is shown, and the name of their row."""
_WORTH_A_ROW_S = 1.0
"""Nobody waits for less to be ready."""
_MEMORY = ("import", "load", "prepare", "warm-up", "measure")


@dataclass(frozen=True)
class Beside:
    """One row."""

    name: str
    value: str
    """With its unit; a dash where it is absent."""
    spread: str = ""
    """What it may be off by, `± 1.2 %`."""
    note: str = ""
    """What it is made of, or why it is absent."""


def beside(case: CaseRecord) -> list[Beside]:
    """Return what stands beside a case's figures; nothing where nothing is known."""
    return [*_ready(case), *_energy(case), *_memory(case), *_disturbed(case)]


def no_energy(record: RunRecord) -> str | None:
    """Return why a run has no energy: `no energy: nvml: …; rapl: …`; None where it has some."""
    if any(case.energy for case in record.cases):
        return None
    if not record.telemetry:
        wanted = record.suite_resolved.get("telemetry", {}).get("enabled", True)
        return None if wanted else "no energy: the suite says [telemetry] enabled = false"
    process = record.telemetry[0]
    reasons = [f"{s.name}: {s.reason}" for s in process.samplers if not s.ok and s.reason]
    if process.problem:
        reasons = [process.problem]
    return f"no energy: {'; '.join(reasons) or 'no sampler here reads energy or power'}"


def _ready(case: CaseRecord) -> Iterator[Beside]:
    """How long loading and preparing took: the first round may find no cache of what it makes."""
    took = {r.round: _seconds(r, ("load", "prepare")) for r in case.rounds if r.status == "done"}
    if not took:
        return
    first, *later = (took[number] for number in sorted(took))
    if max(took.values()) < _WORTH_A_ROW_S:
        return
    note = f"loading and preparing; in the first round {_s(first)}" if later else ""
    value = _s(statistics.median(later or [first]))
    yield Beside("ready after import", value, note=note)


def _seconds(record: RoundRecord, phases: Sequence[str]) -> float:
    return sum((p.end_ns - p.start_ns) / 1e9 for p in record.phases if p.name in phases)


def _s(seconds: float) -> str:
    return quantity(seconds, "s")


def _energy(case: CaseRecord) -> Iterator[Beside]:
    used = [e for e in case.energy if e.phase in _SHOWN]
    devices = {e.device for e in used}
    order = list(_SHOWN)
    for one in sorted(used, key=lambda e: (e.device, e.point, order.index(e.phase))):
        name = _SHOWN[one.phase]
        where = ", ".join(filter(None, [one.point, one.device if len(devices) > 1 else ""]))
        per_token = one.joules_per_token
        yield Beside(
            name=f"{name} ({where})" if where else name,
            value=_joules(per_token),
            spread=spread(per_token),
            note=per_token.reason or "; ".join(_energy_notes(one, alone=len(devices) == 1)),
        )


def _joules(reading: Reading) -> str:
    if reading.value is None:
        return "–"
    small = abs(reading.value) < 0.1
    return quantity(reading.value * 1e3, "mJ") if small else quantity(reading.value, "J")


def _energy_notes(one: EnergyRecord, *, alone: bool) -> Iterator[str]:
    net, idle = one.net_joules_per_token, one.idle_watts
    took = f"{quantity(idle.value, 'W')} idle" if idle and idle.value is not None else "idling"
    if net.value is None:
        yield f"net unknown: {net.reason}"
    elif net.low is not None and net.high is not None and net.low <= 0 <= net.high:
        yield f"net of {took} nothing that can be told from 0"
    else:
        yield f"net of {took} {_joules(net)} {spread(net)}".rstrip()
    how = "counter" if one.method == "counter" else "power summed up"
    yield f"{one.device}, {how}" if alone else how


def _memory(case: CaseRecord) -> Iterator[Beside]:
    """The most over the rounds, at the end of each phase, and the peak of what was measured."""
    ends: dict[str, int] = {}
    peak = 0
    for phase in (p for r in case.rounds for p in r.phases if p.name in _MEMORY):
        if phase.current_bytes is not None:
            ends[phase.name] = max(ends.get(phase.name, 0), phase.current_bytes)
        if phase.name == "measure":
            peak = max(peak, phase.peak_bytes or 0)
    if not peak:
        return
    note = ", ".join(f"{name} {quantity(ends[name], 'bytes')}" for name in _MEMORY if name in ends)
    yield Beside("memory, peak while measured", quantity(peak, "bytes"), note=f"after {note}")


def _disturbed(case: CaseRecord) -> Iterator[Beside]:
    """How many of the measured iterations something disturbed, and what the machine did."""
    watched = [r for r in case.rounds if r.telemetry is not None and r.points]
    words = machine_words(case)
    if not watched:
        return
    points = [point for r in watched for point in r.points]
    total = sum(point.measured_iterations for point in points)
    bad, dropped = (sum(getattr(p, n) for p in points) for n in ("disturbed", "dropped"))
    value = f"{bad} of {total}" if bad else "none"
    left_out = f"{dropped} left out of the figures" if dropped else ""
    yield Beside("iterations disturbed", value, note="; ".join(filter(None, [left_out, words])))
