"""How often a sensor changes, measured by watching it: what an energy's error bound stands on."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from harness.reading import Reading
from harness.telemetry.gauges import Field, read_fields
from harness.telemetry.nvml_door import Nvml, RefusedError

__all__ = ["longest_gap_s", "update_periods"]

_WATCH_S = 0.5
_POLL_S = 0.001
_FEWEST = 3
_Watched = tuple[str, Any, Sequence[Field]]


def update_periods(
    nvml: Nvml,
    devices: Sequence[_Watched],
    *,
    watch_s: float = _WATCH_S,
    now_ns: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[tuple[str, str], Reading]:
    """Watch some fields of some devices together; return each one's longest time between changes.

    Args:
        nvml: Started.
        devices: UUID, handle and fields of each.
        watch_s: How long to watch; changes further apart than a third of it are not seen.
        now_ns: Monotonic.
        sleep: Lets time pass, seconds.
    """
    changes: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    watched = [device for device in devices if device[2]]
    if not watched:
        return {}
    start_ns = now_ns()
    while now_ns() - start_ns < watch_s * 1e9:
        for uuid, handle, fields in watched:
            before_ns = now_ns()
            try:
                values = read_fields(nvml, handle, fields)
            except RefusedError:
                continue
            after_ns = now_ns()
            for name, value in values.items():
                if not isinstance(value, RefusedError):
                    row = (before_ns / 1e9, after_ns / 1e9, value)
                    changes.setdefault((uuid, name), []).append(row)
        sleep(_POLL_S)
    return {
        (uuid, field.name): longest_gap_s(changes.get((uuid, field.name), []), watch_s)
        for uuid, _, fields in watched
        for field in fields
    }


def longest_gap_s(readings: Sequence[tuple[float, float, float]], watched_s: float) -> Reading:
    """Return the longest time between two changes of a value, in s, at most; absent for few.

    Args:
        readings: Time before and after each reading, and its value.
        watched_s: How long they were taken for, to say where there are too few.
    """
    seen: list[tuple[float, float]] = []  # between which moments each change was
    for (before_s, _, one), (_, after_s, other) in itertools.pairwise(readings):
        if other != one:
            seen.append((before_s, after_s))
    if len(seen) < _FEWEST:
        return Reading.absent(
            f"changed {len(seen)} times in {watched_s:g} s of watching, too seldom to time it"
        )
    gaps = [after_s - before_s for (before_s, _), (_, after_s) in itertools.pairwise(seen)]
    return Reading(value=max(gaps), n=len(gaps))
