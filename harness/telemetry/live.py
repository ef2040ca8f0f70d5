"""The last readings of each quantity, counters as rates: what a live view draws.

It must not know how it is drawn.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.contracts import Quantity
from harness.telemetry.lines import Call, Header

__all__ = ["Rolling", "Row", "sparkline"]

_KEPT = 40
_BARS = "▁▂▃▄▅▆▇█"
_CORE = re.compile(r"cpu\d+")
_RATE_UNITS = {"s": "cores", "bytes": "bytes/s", "1": "/s", "J": "W"}


@dataclass
class Row:
    """One quantity of one device."""

    source: str
    quantity: Quantity
    values: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))
    """The last ones, a counter's as rates."""
    reason: str | None = None
    """Why there is none now."""
    last: tuple[int, float] | None = None
    """Time and value of the last reading."""

    @property
    def unit(self) -> str:
        """Of `values`."""
        unit = self.quantity.unit
        if self.quantity.kind == "counter":
            return _RATE_UNITS.get(unit, f"{unit}/s")
        return "" if unit == "1" else unit

    def add(self, at_ns: int, value: float | None, reason: str | None) -> None:
        """Take a reading in."""
        self.reason = reason
        if value is None:
            self.last = None
        elif self.quantity.kind == "counter":
            before, self.last = self.last, (at_ns, value)
            if before is not None and at_ns > before[0]:
                self.values.append((value - before[1]) / (at_ns - before[0]) * 1e9)
        else:
            self.values.append(value)


class Rolling:
    """All quantities of a header, with their last readings.

    Attributes:
        rows: In the order of the header.
        absent: Those that are not here, with the reason.
    """

    def __init__(self, header: Header) -> None:
        self.rows: list[Row] = []
        self.absent: list[tuple[str, Quantity]] = []
        self._of: dict[tuple[int, str], list[Row]] = {}
        for place, sampler in enumerate(header.samplers):
            for tier in ("fast", "slow", "boundary"):
                rows = [Row(sampler.name, quantity) for quantity in sampler.tier(tier)]
                self._of[place, tier] = rows
                self.rows += rows
            self.absent += [(sampler.name, q) for q in sampler.quantities if q.reason]

    def add(self, call: Call) -> list[Row]:
        """Take a call's readings in; return their rows, in the call's order."""
        rows = self._of[call.sampler, call.tier]
        for place, (row, value) in enumerate(zip(rows, call.values, strict=True)):
            row.add(call.at_ns, value, call.why.get(place))
        return rows

    def cores(self) -> list[float]:
        """Return the load of each core now, from 0 to 1."""
        busy = (r for r in self.rows if _is_core(r))
        return [min(1.0, max(0.0, r.values[-1])) for r in busy if r.values]

    def shown(self) -> Iterable[Row]:
        """Return the rows that have a line of their own."""
        return (row for row in self.rows if not _is_core(row))


def _is_core(row: Row) -> bool:
    return row.quantity.name == "busy_s" and bool(_CORE.fullmatch(row.quantity.device))


def sparkline(values: Iterable[float], low: float | None = None, high: float | None = None) -> str:
    """Return a bar for each value, between the lowest and the highest or the ends given."""
    values = list(values)
    if not values:
        return ""
    low = min(values) if low is None else low
    high = max(values) if high is None else high
    span = high - low
    if span <= 0:
        return _BARS[0] * len(values)
    top = len(_BARS) - 1
    return "".join(_BARS[min(top, max(0, round((v - low) / span * top)))] for v in values)
