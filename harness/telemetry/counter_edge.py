"""Between which values an energy counter truly was at one moment, from the updates around it.

Each *update* that was seen pins the true energy to a value at a moment known to lie between two
readings. From there the power was between the lowest and the highest seen nearby, and what all
updates near the moment allow together is an interval.

In the bracket that holds the moment, between the update before and the one after, power is taken to
go over *once* from what was seen before the bracket to what was seen after it: a phase's edge is
where the load changes, and the bracket's energy is known exactly. That narrows the interval where
the load jumps. It is an assumption, so the interval is not certain to hold the truth; how often it
does is measured (`benchmarks/energy.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from harness.telemetry.energy import Watts

__all__ = ["NEAR_S", "Update", "at_edge"]

NEAR_S = 0.6
"""What lies further away than this tells nothing of an edge."""
_FEWEST_NEAR = 3
# How much further than the extremes that were seen the power may have gone unseen.
_MARGIN = 0.05
# A power reading shows at most this far back: updates of 0.1 s over windows of 25 ms, the slowest
# instant power that was found in over 70 GPUs (Yang et al., arXiv:2312.02741).
_SHOWS_BACK_S = 0.125


@dataclass(frozen=True, slots=True)
class Update:
    """The counter came to hold `joules` at some moment from `first_s` to `last_s`."""

    first_s: float
    last_s: float
    joules: float

    @property
    def middle_s(self) -> float:
        """The middle of what is known of the moment."""
        return (self.first_s + self.last_s) / 2


@dataclass(frozen=True, slots=True)
class _Range:
    """Power that was seen, widened by a margin."""

    low: float
    high: float

    def joined(self, other: _Range) -> _Range:
        return _Range(min(self.low, other.low), max(self.high, other.high))


_Interval = tuple[float, float]


def at_edge(updates: Sequence[Update], watts: Sequence[Watts], edge_s: float) -> _Interval | None:
    """Return between which values the true counter was at a moment; None where nothing is known.

    Args:
        updates: In order of time.
        watts: Instant power, in order of time.
        edge_s: The moment.
    """
    near = _near(updates, edge_s)
    if len(near) < 2:
        return None
    wide = _by_all(near, watts, edge_s)
    narrow = _by_one_change(near, watts, edge_s)
    if narrow is None:
        return wide
    low, high = max(wide[0], narrow[0]), min(wide[1], narrow[1])
    return (low, high) if low <= high else wide


def _near(updates: Sequence[Update], edge_s: float) -> list[Update]:
    """Return the updates close to an edge, and at least a few on either side of it."""
    before = [u for u in updates if u.middle_s <= edge_s]
    after = [u for u in updates if u.middle_s > edge_s]
    close_before = [u for u in before if edge_s - u.middle_s <= NEAR_S]
    close_after = [u for u in after if u.middle_s - edge_s <= NEAR_S]
    return (
        before[-max(_FEWEST_NEAR, len(close_before)) :]
        + after[: max(_FEWEST_NEAR, len(close_after))]
    )


def _by_all(near: Sequence[Update], watts: Sequence[Watts], edge_s: float) -> _Interval:
    """Return what all updates allow together, with power anywhere in the range seen nearby."""
    span_s = max(NEAR_S, *(abs(update.middle_s - edge_s) for update in near))
    power = _seen(near, [w for w in watts if abs(w.before_s - edge_s) <= span_s])
    if power is None:
        took_s = max(near[-1].middle_s - near[0].middle_s, 1e-9)
        mean_w = (near[-1].joules - near[0].joules) / took_s
        power = _Range(0.0, 2 * mean_w)
    low = max(_least(update, edge_s, power) for update in near)
    high = min(_most(update, edge_s, power) for update in near)
    if low <= high:
        return low, high
    # The updates contradict the range: power went beyond what was seen. It may have gone anywhere.
    anywhere = _Range(0.0, 2 * power.high)
    nearest = sorted(near, key=lambda update: abs(update.middle_s - edge_s))[:2]
    return (
        min(_least(update, edge_s, anywhere) for update in nearest),
        max(_most(update, edge_s, anywhere) for update in nearest),
    )


def _by_one_change(
    near: Sequence[Update], watts: Sequence[Watts], edge_s: float
) -> _Interval | None:
    """Return what is possible if the load changes once in the bracket; None where that can't be."""
    before = [update for update in near if update.last_s <= edge_s]
    after = [update for update in near if update.first_s > edge_s]
    if not before or not after or len(before) + len(after) < len(near):
        return None  # an update that may lie on either side of the edge: there is no bracket
    one, other = before[-1], after[0]
    left = _seen(before, [w for w in watts if edge_s - NEAR_S <= w.before_s < one.last_s])
    shown_s = other.last_s + _SHOWS_BACK_S
    right = _seen(after, [w for w in watts if shown_s <= w.before_s <= edge_s + NEAR_S])
    if left is None or right is None:
        return None
    found = [
        end
        for one_s in (one.first_s, one.middle_s, one.last_s)
        for other_s in (other.first_s, other.middle_s, other.last_s)
        for interval in _changes(
            edge_s - one_s, other_s - edge_s, other.joules - one.joules, left, right
        )
        for end in interval
    ]
    return (one.joules + min(found), one.joules + max(found)) if found else None


def _changes(
    before_s: float, after_s: float, joules: float, left: _Range, right: _Range
) -> list[_Interval]:
    """Return what may have been used before the edge, by whether power changed after it or before.

    Args:
        before_s: From the bracket's beginning to the edge.
        after_s: From the edge to the bracket's end.
        joules: Used in the whole bracket.
        left: Power before the change.
        right: Power after it.
    """
    either = left.joined(right)
    possible = [
        _meet(left, before_s, either, after_s, joules),
        _meet(either, before_s, right, after_s, joules),
    ]
    return [interval for interval in possible if interval is not None]


def _meet(
    first: _Range, before_s: float, second: _Range, after_s: float, joules: float
) -> _Interval | None:
    """Return what was used before the edge if what is left of `joules` was used after it."""
    low = max(first.low * before_s, joules - second.high * after_s)
    high = min(first.high * before_s, joules - second.low * after_s)
    return (low, high) if low <= high else None


def _seen(updates: Sequence[Update], watts: Sequence[Watts]) -> _Range | None:
    """Return the range of power that was seen, between updates and by the power sensor."""
    seen = [reading.watts for reading in watts]
    for one, other in itertools.pairwise(updates):
        took_s = other.middle_s - one.middle_s
        if took_s > (other.last_s - other.first_s) / 2 and took_s > 0:
            seen.append((other.joules - one.joules) / took_s)
    if not seen:
        return None
    return _Range(max(0.0, min(seen) * (1 - _MARGIN)), max(seen) * (1 + _MARGIN))


def _least(update: Update, at_s: float, power: _Range) -> float:
    """Return the least that the counter can truly have been at a moment, given one update."""
    since_s = at_s - update.last_s  # the update as late as it can be: least time to have risen
    return update.joules + since_s * (power.low if since_s > 0 else power.high)


def _most(update: Update, at_s: float, power: _Range) -> float:
    """Return the most, likewise: the update as early as it can be."""
    since_s = at_s - update.first_s
    return update.joules + since_s * (power.high if since_s > 0 else power.low)
