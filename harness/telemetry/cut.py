"""A series of readings cut at the edges of a phase: increase, mean, and how far off they may be.

Between two readings a value is taken on a straight line. What that may be off by: a counter does
not fall, so at an edge it lies between the readings around it; a gauge is taken to stay between two
neighbouring readings, so its integral lies between those of the two step functions. Of what is read
seldom there is a reading at each edge, made while the worker stood still: it counts as the value
there, off by no more than its share of the growth to the next one. It must not know what is
measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cut", "CutError", "Series", "increase", "integral", "mean"]

_NEAR_NS = 5_000_000
_SELDOM_NS = 200_000_000
"""A reading this near to an edge is the edge's own, where the next one is this far away."""

Times = NDArray[np.int64]
Values = NDArray[np.float64]


class CutError(Exception):
    """The series does not reach over the phase; the message says how."""


@dataclass(frozen=True)
class Cut:
    """A figure of a phase."""

    value: float
    bound: float
    """The figure is off by no more than this."""
    n: int
    """Readings within the phase."""


@dataclass(frozen=True)
class Series:
    """Readings in order of time: `value[i]` at `time_ns[i]`."""

    time_ns: Times
    value: Values

    def within(self, start_ns: int, end_ns: int) -> slice:
        """Return which readings lie in a phase."""
        first, last = np.searchsorted(self.time_ns, [start_ns, end_ns])
        return slice(int(first), int(last))

    def at(self, time_ns: int) -> tuple[float, float, float]:
        """Return the value at a time, and the readings before and after it.

        Raises:
            CutError: where the time is not between two readings.
        """
        after = int(np.searchsorted(self.time_ns, time_ns))
        if after < len(self.time_ns) and self.time_ns[after] == time_ns:
            here = float(self.value[after])
            return here, here, here
        if after == 0 or after == len(self.time_ns):
            raise CutError(self._outside(time_ns, after))
        low, high = float(self.value[after - 1]), float(self.value[after])
        before_ns, after_ns = map(int, self.time_ns[after - 1 : after + 1])
        share = (time_ns - before_ns) / (after_ns - before_ns)
        here = low + share * (high - low)
        if after_ns - before_ns > _SELDOM_NS:
            if time_ns - before_ns <= _NEAR_NS:
                return here, low, here + (here - low)
            if after_ns - time_ns <= _NEAR_NS:
                return here, here - (high - here), high
        return here, low, high

    def _outside(self, time_ns: int, after: int) -> str:
        if not len(self.time_ns):
            return "it was never read"
        if after == 0:
            return f"first read {(int(self.time_ns[0]) - time_ns) / 1e6:.0f} ms after it began"
        return f"last read {(time_ns - int(self.time_ns[-1])) / 1e6:.0f} ms before it ended"


def increase(series: Series, start_ns: int, end_ns: int) -> Cut:
    """Return by how much a counter grew in a phase, in its unit.

    Raises:
        CutError: where the series does not reach over the phase, or the counter fell.
    """
    first, first_low, first_high = series.at(start_ns)
    last, last_low, last_high = series.at(end_ns)
    inside = series.within(start_ns, end_ns)
    values = np.array([first_low, *series.value[inside], last_high])
    if np.any(np.diff(values) < 0):
        raise CutError("the counter fell")
    bound = max(first - first_low, first_high - first) + max(last - last_low, last_high - last)
    return Cut(last - first, bound, inside.stop - inside.start)


def integral(series: Series, start_ns: int, end_ns: int) -> Cut:
    """Return the integral of a gauge over a phase, in its unit times seconds.

    Raises:
        CutError: where the series does not reach over the phase.
    """
    inside = series.within(start_ns, end_ns)
    first, *around_first = series.at(start_ns)
    last, *around_last = series.at(end_ns)
    time_s = (np.array([start_ns, *series.time_ns[inside], end_ns]) - start_ns) / 1e9
    value = np.array([first, *series.value[inside], last])
    steps_s = np.diff(time_s)
    # At an edge the value may be anything between the readings around it, not only on their line.
    most, least = value.copy(), value.copy()
    most[0], least[0] = max(around_first), min(around_first)
    most[-1], least[-1] = max(around_last), min(around_last)
    highest = np.maximum(most[:-1], most[1:])
    lowest = np.minimum(least[:-1], least[1:])
    area = float(np.sum((value[:-1] + value[1:]) / 2 * steps_s))
    above = float(np.sum(highest * steps_s)) - area
    below = area - float(np.sum(lowest * steps_s))
    return Cut(area, max(above, below), inside.stop - inside.start)


def mean(series: Series, start_ns: int, end_ns: int) -> Cut:
    """Return the mean of a gauge over the time of a phase.

    Raises:
        CutError: where the series does not reach over the phase, or the phase took no time.
    """
    seconds = (end_ns - start_ns) / 1e9
    if seconds <= 0:
        raise CutError("it took no time")
    area = integral(series, start_ns, end_ns)
    return Cut(area.value / seconds, area.bound / seconds, area.n)
