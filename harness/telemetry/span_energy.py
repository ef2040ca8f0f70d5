"""Energy of prefill and of decode: summed over all stretches of a round in which either was done.

A stretch shorter than the sensor can see is not guessed at. What lies within two updates of a
counter, or within a sensor's averaging window, is known only together with its neighbours: a
prefill would be given the power of the decoding around it. It is then absent, with the reason.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from harness.contracts import Span
from harness.reading import Reading
from harness.store.record import SpanEnergyRecord
from harness.store.telemetry import Telemetry
from harness.telemetry.energy_sum import EnergySum
from harness.telemetry.phase_energy import COUNTERS, POWERS, Row, phase_energy, updates_of

__all__ = ["span_energies"]

_AROUND_S = 1.5
_UPDATES = 2
"""A stretch holds at least so many updates of the sensor."""
_WORST = 0.25
"""A bound wider than this says nothing; the reason does."""
_SLOWEST_UPDATE_S = 0.1


def span_energies(
    spans: Mapping[tuple[str, str], Sequence[Span]], telemetry: Telemetry
) -> list[SpanEnergyRecord]:
    """Return what each kind of work used on each device that shows energy or power.

    Args:
        spans: By kind and point, in order of time.
        telemetry: What was read during the visit.
    """
    return [
        _record(kind, point, source, device, stretches, rows)
        for (source, device), rows in _rows_by_device(telemetry).items()
        for (kind, point), stretches in spans.items()
        if stretches
    ]


def _record(
    kind: str, point: str, source: str, device: str, spans: Sequence[Span], rows: Sequence[Row]
) -> SpanEnergyRecord:
    found = EnergySum()
    periods = updates_of(source, rows)
    begins = [row.before_s for row in rows]
    for span in spans:
        start_s, end_s = span.start_ns / 1e9, span.end_ns / 1e9
        first = bisect_left(begins, start_s - _AROUND_S)
        near = rows[first : bisect_right(begins, end_s + _AROUND_S)]
        energy = phase_energy(near, start_s, end_s, update_s=periods)
        found.add(energy, end_s - start_s, span.tokens)
    joules = found.joules
    if joules.value is not None:
        usual_s = median(span.end_ns - span.start_ns for span in spans) / 1e9
        why = _why_not(kind, usual_s, joules, _blind_s(found, rows, periods))
        joules = joules if why is None else Reading.absent(why)
    return SpanEnergyRecord.model_validate(
        {
            "kind": kind, "point": point, "source": source, "device": device, "spans": found.parts,
            "seconds": found.seconds, "tokens": found.tokens, "joules": joules,
            "method": found.method, "notes": list(found.notes),
        }
    )  # fmt: skip


def _why_not(kind: str, took_s: float, joules: Reading, blind_s: float) -> str | None:
    """Say why the sensor cannot tell this work from what lies around it; None where it can."""
    more = "longer prompts" if kind == "prefill" else "more new tokens"
    took = f"a {kind} takes {took_s * 1e3:.3g} ms"
    if took_s < _UPDATES * blind_s:
        return f"{took} and the sensor shows {blind_s * 1e3:.3g} ms at a time: {more} would show it"
    half = joules.half_width
    if half is None or half > _WORST:
        off = "" if half is None else f" by {half:.0%}"
        return f"{took}, and at its edges the sensor may be off{off}: {more} would show it"
    return None


def _blind_s(found: EnergySum, rows: Sequence[Row], periods: Mapping[str, float]) -> float:
    """Return over which time the sensor that was used shows energy or power only as a whole."""
    if found.method == "counter":
        return periods.get("energy_j", _SLOWEST_UPDATE_S)
    used = [(name, window_s) for name, window_s in POWERS if any(name in r.values for r in rows)]
    return max(
        (window_s + periods.get(name, _SLOWEST_UPDATE_S) for name, window_s in used[:1]),
        default=_SLOWEST_UPDATE_S,
    )


def _rows_by_device(telemetry: Telemetry) -> dict[tuple[str, str], list[Row]]:
    """Return what was read together of each device with a sensor of energy or power."""
    names = {*COUNTERS, *(name for name, _ in POWERS)}
    sensors = {(k.source, k.device) for k in telemetry.series if k.quantity in names}
    found: dict[tuple[str, str], dict[tuple[int, int], dict[str, Reading]]] = {}
    for key, time_ns, call_ns, name, reading in _readings(telemetry):
        if key in sensors and (name in names or name.endswith("_update_s")):
            found.setdefault(key, {}).setdefault((time_ns, call_ns), {})[name] = reading
    return {
        key: [
            Row((time_ns - call_ns / 2) / 1e9, (time_ns + call_ns / 2) / 1e9, values)
            for (time_ns, call_ns), values in sorted(rows.items())
        ]
        for key, rows in found.items()
    }


def _readings(telemetry: Telemetry) -> Iterator[tuple[tuple[str, str], int, int, str, Reading]]:
    columns = (
        telemetry.which,
        telemetry.time_ns,
        telemetry.call_ns,
        telemetry.value,
        telemetry.why,
    )
    for which, time_ns, call_ns, value, why in zip(*(c.tolist() for c in columns), strict=True):
        series = telemetry.series[which]
        reading = Reading(value=value) if why < 0 else Reading.absent(telemetry.reasons[why])
        yield (series.source, series.device), time_ns, call_ns, series.quantity, reading
