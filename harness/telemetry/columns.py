"""Calls become columns for the store, and columns become series again, by quantity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from harness.store.telemetry import SeriesKey, Telemetry
from harness.telemetry.cut import Series
from harness.telemetry.lines import Call, Header

__all__ = ["series_of", "to_columns"]


def to_columns(
    header: Header, calls: Iterable[Call], idle_ns: tuple[int, int] | None = None
) -> Telemetry:
    """Return what calls read, in order of time; `header` says what their values are of."""
    keys: list[SeriesKey] = []
    first: dict[tuple[int, str], int] = {}
    for place, sampler in enumerate(header.samplers):
        for tier in ("fast", "slow", "boundary"):
            first[place, tier] = len(keys)
            keys += [
                SeriesKey(sampler.name, q.device, q.name, q.unit, q.kind)
                for q in sampler.tier(tier)
            ]
    reasons: dict[str, int] = {}
    which, time_ns, call_ns, value, why = [], [], [], [], []
    for call in sorted(calls, key=lambda call: call.at_ns):
        start = first[call.sampler, call.tier]
        for place, read in enumerate(call.values):
            which.append(start + place)
            time_ns.append(call.at_ns)
            call_ns.append(call.after_ns - call.before_ns)
            value.append(np.nan if read is None else read)
            reason = call.why.get(place, "no reason given")
            why.append(-1 if read is not None else reasons.setdefault(reason, len(reasons)))
    return Telemetry(
        series=tuple(keys),
        which=np.array(which, np.int32),
        time_ns=np.array(time_ns, np.int64),
        call_ns=np.array(call_ns, np.int64),
        value=np.array(value, np.float64),
        why=np.array(why, np.int32),
        reasons=tuple(reasons),
        idle_ns=idle_ns,
    )


def series_of(telemetry: Telemetry) -> Mapping[SeriesKey, Series]:
    """Return the readings of each quantity that have a value."""
    here = telemetry.why < 0
    found = {}
    for number, key in enumerate(telemetry.series):
        mine = here & (telemetry.which == number)
        found[key] = Series(telemetry.time_ns[mine], telemetry.value[mine])
    return found
