"""Energy of a phase from power readings, where there is no counter, and what that leaves out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from harness.reading import Reading
from harness.telemetry.energy import Energy, Watts

__all__ = ["power_energy"]

# The slowest update of instant power found in over 70 GPUs (Yang et al., arXiv:2312.02741).
_SLOWEST_UPDATE_S = 0.1


def power_energy(
    watts: Sequence[Watts],
    start_s: float,
    end_s: float,
    *,
    window_s: float = 0.0,
    update_s: float | None = None,
) -> Energy:
    """Return the energy between two moments from power readings: where there is no counter.

    Trapezoids between readings, straight to the edges. A reading is as old as the sensor's update
    and an average over its window, so the whole series lies late by half of both; the bound is that
    lag at the two edges, and between readings the difference that a step there would make.

    Args:
        watts: In order of time, from before `start_s` to after `end_s`.
        start_s: The phase's beginning.
        end_s: The phase's end.
        window_s: What the sensor averages over: 1.0 for NVML's average power.
        update_s: The longest time between the sensor's updates, measured; None where unknown.
    """
    if end_s <= start_s:
        return Energy.absent("power", "the phase took no time")
    usable = [w for w in watts if math.isfinite(w.watts)]
    times = [(w.before_s + w.after_s) / 2 for w in usable]
    if len(usable) < 2 or times[0] > start_s or times[-1] < end_s:
        return Energy.absent("power", "power was not read on both sides of the phase")
    joules = shape_j = 0.0
    for (one_s, one), (two_s, two) in itertools.pairwise(zip(times, usable, strict=True)):
        left_s, right_s = max(one_s, start_s), min(two_s, end_s)
        if right_s <= left_s:
            continue
        slope = (two.watts - one.watts) / (two_s - one_s) if two_s > one_s else 0.0
        joules += (one.watts + slope * ((left_s + right_s) / 2 - one_s)) * (right_s - left_s)
        shape_j += abs(two.watts - one.watts) * (right_s - left_s) / 2
    old_s = window_s + (_SLOWEST_UPDATE_S if update_s is None else update_s)
    lag_j = sum(_swing(times, usable, edge_s, old_s) * old_s for edge_s in (start_s, end_s))
    bound = shape_j + lag_j
    notes = ["power readings summed up: what happened between two readings was not seen"]
    if update_s is None:
        notes.append(f"how often the sensor is updated is not known; {_SLOWEST_UPDATE_S} s assumed")
    if window_s:
        notes.append(f"each reading is an average over {window_s:g} s")
    low, high = max(0.0, joules - bound), joules + bound
    return Energy(Reading(value=joules, low=low, high=high), "power", tuple(notes))


def _swing(times: Sequence[float], watts: Sequence[Watts], edge_s: float, old_s: float) -> float:
    """Return how far power went around an edge."""
    span_s = max(old_s, 0.1)
    near = [w.watts for at_s, w in zip(times, watts, strict=True) if abs(at_s - edge_s) <= span_s]
    return max(near) - min(near) if near else 0.0
