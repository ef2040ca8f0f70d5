"""Spells in which the machine disturbed what ran on it, found in series of readings.

Each rule looks at one quantity. A reading says how things were at one moment, so a spell reaches
from the reading before the first that shows it to the one after the last. It must not know what
was measured meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from harness.cautions import CautionKind
from harness.store.telemetry import SeriesKey
from harness.telemetry.clock_events import throttling
from harness.telemetry.cut import Series

__all__ = ["Spell", "merged", "seconds_of", "spells"]

_SWAP_BYTES = 2**20
_OTHERS_CORES = 0.25
_CLOCK_DROP = 0.05
_TOP_CLOCK = 95


@dataclass(frozen=True)
class Spell:
    """A stretch of time in which something disturbed."""

    kind: CautionKind
    start_ns: int
    end_ns: int
    device: str
    what: str
    """What was seen: `the power cap held the clock down`."""

    def overlap_ns(self, start_ns: int, end_ns: int) -> int:
        """How much of it lies in a stretch of time."""
        return max(0, min(self.end_ns, end_ns) - max(self.start_ns, start_ns))


def spells(series: Mapping[SeriesKey, Series], start_ns: int, end_ns: int) -> list[Spell]:
    """Return the spells that reach into a phase, in order of their rules."""
    found: list[Spell] = []
    for key, readings in series.items():
        rule = _RULES.get(key.quantity)
        if rule is not None and len(readings.time_ns) > 1:
            found += rule(key, _around(readings, start_ns, end_ns))
    return [spell for spell in found if spell.overlap_ns(start_ns, end_ns)]


def _around(readings: Series, start_ns: int, end_ns: int) -> Series:
    """Return a phase's readings, and one more on each side."""
    inside = readings.within(start_ns, end_ns)
    wider = slice(max(0, inside.start - 1), inside.stop + 1)
    return Series(readings.time_ns[wider], readings.value[wider])


def merged(found: Iterable[Spell]) -> list[tuple[int, int]]:
    """Return the stretches of time that spells cover together."""
    covered: list[tuple[int, int]] = []
    for start_ns, end_ns in sorted((s.start_ns, s.end_ns) for s in found):
        if covered and start_ns <= covered[-1][1]:
            covered[-1] = covered[-1][0], max(covered[-1][1], end_ns)
        else:
            covered.append((start_ns, end_ns))
    return covered


def seconds_of(found: Iterable[Spell], start_ns: int, end_ns: int) -> float:
    """Return how much of a phase spells cover together."""
    pieces = ((max(a, start_ns), min(b, end_ns)) for a, b in merged(found))
    return sum(max(0, b - a) for a, b in pieces) / 1e9


Rule = Callable[[SeriesKey, Series], Iterable[Spell]]


def _throttled(key: SeriesKey, readings: Series) -> Iterable[Spell]:
    """One spell for each reason that holds a GPU's clock down."""
    reasons = [throttling(bits) for bits in readings.value]
    for reason in dict.fromkeys(name for names in reasons for name in names):
        shown = np.array([reason in names for names in reasons])
        yield from _runs(CautionKind.THROTTLED, key, readings, shown, f"throttled ({reason})")


def _clock_dropped(key: SeriesKey, readings: Series) -> Iterable[Spell]:
    """Readings well below what the clock is for most of the phase."""
    top = float(np.percentile(readings.value, _TOP_CLOCK))
    low = readings.value < (1 - _CLOCK_DROP) * top
    what = f"{key.quantity} below {1 - _CLOCK_DROP:.0%} of {top:.0f} MHz"
    yield from _runs(CautionKind.CLOCKS, key, readings, low, what)


def _present(kind: CautionKind, what: str) -> Rule:
    """A gauge that is above zero."""

    def rule(key: SeriesKey, readings: Series) -> Iterable[Spell]:
        yield from _runs(kind, key, readings, readings.value > 0, what)

    return rule


def _grew(kind: CautionKind, what: str, above: float = 0.0, *, per_second: bool = False) -> Rule:
    """A counter that grew by more than `above` from one reading to the next, or at that rate."""

    def rule(key: SeriesKey, readings: Series) -> Iterable[Spell]:
        growth = np.diff(readings.value)
        if per_second:
            growth = growth / np.maximum(np.diff(readings.time_ns) / 1e9, 1e-9)
        for place in np.flatnonzero(growth > above):
            start_ns, end_ns = readings.time_ns[place : place + 2]
            yield Spell(kind, int(start_ns), int(end_ns), key.device, what)

    return rule


def _runs(
    kind: CautionKind, key: SeriesKey, readings: Series, shown: np.ndarray, what: str
) -> Iterable[Spell]:
    """Yield a spell for each run of readings that show it, with the neighbours' times as ends."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], shown.astype(np.int8), [0]])))
    last = len(readings.time_ns) - 1
    for first, behind in edges.reshape(-1, 2):
        start_ns = readings.time_ns[max(0, first - 1)]
        end_ns = readings.time_ns[min(last, behind)]
        yield Spell(kind, int(start_ns), int(end_ns), key.device, what)


_RULES: Mapping[str, Rule] = {
    "clock_events_bits": _throttled,
    "sm_clock_mhz": _clock_dropped,
    "clock_mhz": _clock_dropped,
    "cgroup_throttled_s": _grew(CautionKind.CPU_LIMIT, "stopped by the control group's CPU quota"),
    "thermal_throttles": _grew(CautionKind.THERMAL, "the processor throttled for its temperature"),
    "swap_in_bytes": _grew(CautionKind.SWAP, "memory came back from swap", _SWAP_BYTES),
    "swap_out_bytes": _grew(CautionKind.SWAP, "memory went to swap", _SWAP_BYTES),
    "others_busy_s": _grew(
        CautionKind.OTHERS_LOAD,
        f"others used more than {_OTHERS_CORES:g} cores",
        _OTHERS_CORES,
        per_second=True,
    ),
    "other_processes": _present(CautionKind.OTHER_PROCESS, "another process was on the device"),
}
"""By quantity. Load of others is read each second, in ticks of 10 ms: a quarter of a core is then
well above the rounding, and an eighth of a two-core run."""
