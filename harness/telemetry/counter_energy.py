"""Energy of a phase from readings of a counter, with a bound on its error.

A counter is not read at the phase's edge, and what it shows is as old as its last update. So its
value at an edge is bounded (`counter_edge`), not read; what is between the two edges' bounds is an
interval; its middle is the estimate, its half the bound. The bound knows nothing of the sensor's
own calibration.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from harness.reading import Reading
from harness.telemetry.counter_edge import NEAR_S, Update, at_edge
from harness.telemetry.energy import Count, Energy, Watts

__all__ = ["counter_energy"]


def counter_energy(
    counts: Sequence[Count],
    start_s: float,
    end_s: float,
    *,
    update_s: float | None = None,
    watts: Sequence[Watts] = (),
    resolution_j: float = 0.001,
) -> Energy:
    """Return the energy between two moments from readings of a counter, those around included.

    Args:
        counts: In order of time, from before `start_s` to after `end_s`.
        start_s: The phase's beginning.
        end_s: The phase's end.
        update_s: The longest time between the counter's updates, measured; None where unknown.
        watts: Instant power, to know how far the power went between updates.
        resolution_j: The counter's step.
    """
    if end_s <= start_s:
        return Energy.absent("counter", "the phase took no time")
    if reason := _unusable(counts, start_s, end_s):
        return Energy.absent("counter", reason)
    updates = _updates(counts, update_s)
    edges = [at_edge(updates, watts, edge_s) for edge_s in (start_s, end_s)]
    if edges[0] is None or edges[1] is None:
        return Energy.absent("counter", "the counter was not seen to move around the phase")
    low = edges[1][0] - edges[0][1] - resolution_j
    high = edges[1][1] - edges[0][0] + resolution_j
    # The middle of the interval before it is cut: energy is not negative, an estimate may be off.
    value = max(0.0, (low + high) / 2)
    return Energy(Reading(value=value, low=min(max(0.0, low), value), high=high), "counter")


def _unusable(counts: Sequence[Count], start_s: float, end_s: float) -> str | None:
    """Say why these readings can't give an energy, or None."""
    if not counts:
        return "the counter was never read"
    if counts[0].before_s > start_s:
        return f"the counter was first read {counts[0].before_s - start_s:.3f} s into the phase"
    if counts[-1].after_s < end_s:
        return (
            f"the counter was last read {end_s - counts[-1].after_s:.3f} s before the phase's end"
        )
    for one, other in itertools.pairwise(counts):
        near = other.after_s > start_s - NEAR_S and one.before_s < end_s + NEAR_S
        if near and other.joules < one.joules:
            fell = one.joules - other.joules
            return (
                f"the counter went backward by {fell:.3f} J {other.after_s - start_s:.3f} s after "
                "the phase's start"
            )
    return None


def _updates(counts: Sequence[Count], update_s: float | None) -> list[Update]:
    """Return what the readings say about when the counter was updated, and to what."""
    found: list[Update] = []
    if update_s is not None:
        first = counts[0]
        found.append(Update(first.before_s - update_s, first.after_s, first.joules))
    for before, now in itertools.pairwise(counts):
        if now.joules == before.joules:
            continue
        # It had not yet been updated when it was read before, and is never older than a period.
        first_s = before.before_s
        if update_s is not None:
            first_s = max(first_s, now.before_s - update_s)
        found.append(Update(min(first_s, now.after_s), now.after_s, now.joules))
    return found
