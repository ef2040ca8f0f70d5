"""Energy of a phase from readings of a counter, with a bound on its error.

A counter is not read at the phase's edge, and what it shows is as old as its last update. So its
value at an edge is bounded, not read. Each *update* seen pins the true energy to a value at a
moment known to lie between two readings; from there to the edge the power was between the lowest
and the highest seen nearby. What all updates near the edge allow together is an interval; its
middle is the estimate, its half the bound. The bound knows nothing of the sensor's own calibration.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from harness.reading import Reading
from harness.telemetry.energy import Count, Energy, Watts

__all__ = ["counter_energy"]

_NEAR_S = 0.6
_FEWEST_NEAR = 3
# How much further than the extremes that were seen the power may have gone unseen.
_MARGIN = 0.05


@dataclass(frozen=True, slots=True)
class _Update:
    """The counter came to hold `joules` at some moment from `first_s` to `last_s`."""

    first_s: float
    last_s: float
    joules: float

    @property
    def middle_s(self) -> float:
        return (self.first_s + self.last_s) / 2


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
    edges = [_at_edge(updates, watts, edge_s) for edge_s in (start_s, end_s)]
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
        near = other.after_s > start_s - _NEAR_S and one.before_s < end_s + _NEAR_S
        if near and other.joules < one.joules:
            fell = one.joules - other.joules
            return (
                f"the counter went backward by {fell:.3f} J {other.after_s - start_s:.3f} s after "
                "the phase's start"
            )
    return None


def _updates(counts: Sequence[Count], update_s: float | None) -> list[_Update]:
    """Return what the readings say about when the counter was updated, and to what."""
    found: list[_Update] = []
    if update_s is not None:
        first = counts[0]
        found.append(_Update(first.before_s - update_s, first.after_s, first.joules))
    for before, now in itertools.pairwise(counts):
        if now.joules == before.joules:
            continue
        # It had not yet been updated when it was read before, and is never older than a period.
        first_s = before.before_s
        if update_s is not None:
            first_s = max(first_s, now.before_s - update_s)
        found.append(_Update(min(first_s, now.after_s), now.after_s, now.joules))
    return found


def _at_edge(
    updates: Sequence[_Update], watts: Sequence[Watts], edge_s: float
) -> tuple[float, float] | None:
    """Return between which values the true counter was at a moment; None where nothing is known."""
    near = _near(updates, edge_s)
    if len(near) < 2:
        return None
    lowest, highest = _power_range(near, watts, edge_s)
    low = max(_least(update, edge_s, lowest, highest) for update in near)
    high = min(_most(update, edge_s, lowest, highest) for update in near)
    if low > high:
        # The updates contradict the range: power went beyond what was seen. All of it may be so.
        low, high = (
            min(_least(update, edge_s, 0.0, 2 * highest) for update in _two(near, edge_s)),
            max(_most(update, edge_s, 0.0, 2 * highest) for update in _two(near, edge_s)),
        )
    return low, high


def _near(updates: Sequence[_Update], edge_s: float) -> list[_Update]:
    """Return the updates close to an edge, and at least a few on either side of it."""
    before = [u for u in updates if u.middle_s <= edge_s]
    after = [u for u in updates if u.middle_s > edge_s]
    close_before = [u for u in before if edge_s - u.middle_s <= _NEAR_S]
    close_after = [u for u in after if u.middle_s - edge_s <= _NEAR_S]
    return (
        before[-max(_FEWEST_NEAR, len(close_before)) :]
        + after[: max(_FEWEST_NEAR, len(close_after))]
    )


def _two(near: Sequence[_Update], edge_s: float) -> list[_Update]:
    """Return the two updates nearest to an edge."""
    return sorted(near, key=lambda update: abs(update.middle_s - edge_s))[:2]


def _power_range(
    near: Sequence[_Update], watts: Sequence[Watts], edge_s: float
) -> tuple[float, float]:
    """Return the lowest and highest power seen around an edge, by updates and by the sensor."""
    span_s = max(_NEAR_S, *(abs(update.middle_s - edge_s) for update in near))
    seen = [w.watts for w in watts if abs((w.before_s + w.after_s) / 2 - edge_s) <= span_s]
    for one, other in itertools.pairwise(near):
        took_s = other.middle_s - one.middle_s
        if took_s > (other.last_s - other.first_s) / 2 and took_s > 0:
            seen.append((other.joules - one.joules) / took_s)
    if not seen:
        first, last = near[0], near[-1]
        seen.append((last.joules - first.joules) / max(last.middle_s - first.middle_s, 1e-9))
    return max(0.0, min(seen) * (1 - _MARGIN)), max(seen) * (1 + _MARGIN)


def _least(update: _Update, at_s: float, lowest: float, highest: float) -> float:
    """Return the least that the counter can truly have been at a moment, given one update."""
    since_s = at_s - update.last_s  # the update as late as it can be: least time to have risen
    return update.joules + since_s * (lowest if since_s > 0 else highest)


def _most(update: _Update, at_s: float, lowest: float, highest: float) -> float:
    """Return the most, likewise: the update as early as it can be."""
    since_s = at_s - update.first_s
    return update.joules + since_s * (highest if since_s > 0 else lowest)
