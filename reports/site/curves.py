"""A case's history as a picture that is nothing but attributes: small, and styled by the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.shown import quantity

__all__ = ["History", "histories"]

_WIDTH, _HEIGHT = 720.0, 150.0
_LEFT, _TOP, _BOTTOM = 78.0, 10.0, 22.0
_MARKS = 60
"""So many runs get a mark of their own; more would only hide the line."""


@dataclass(frozen=True)
class Mark:
    """One run in the picture."""

    x: float
    y: float
    low: float | None
    high: float | None
    words: str
    run: str


@dataclass(frozen=True)
class History:
    """One metric at one point over the runs of a case."""

    metric: str
    point: str
    better: str
    line: str
    """Points of a polyline."""
    band: str
    """Points of the polygon of all intervals; empty where there are none."""
    marks: tuple[Mark, ...]
    ticks: tuple[tuple[float, str], ...]
    changes: tuple[tuple[float, str], ...]
    """Place across and words of each change."""
    alt: str
    rows: tuple[Mapping[str, Any], ...]


def histories(
    rows: Sequence[Mapping[str, Any]], moved: Mapping[tuple[str, str], Mapping[str, str]]
) -> list[History]:
    """Return a picture per metric and point; `moved` has (metric, point) to run id to words."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("value") is not None:
            groups.setdefault((row["metric"], row["point"]), []).append(row)
    return [
        _history(metric, point, group, moved.get((metric, point), {}))
        for (metric, point), group in groups.items()
    ]


def _history(
    metric: str, point: str, rows: Sequence[Mapping[str, Any]], moved: Mapping[str, str]
) -> History:
    unit = rows[0]["unit"]
    values = [float(row["value"]) for row in rows]
    ends = [v for row in rows for v in (row.get("low"), row.get("high")) if v is not None]
    middle = sorted(values)[len(values) // 2]
    # One interval of enormous width must not flatten the line.
    low = max(min([*values, *ends]), min(values) - abs(middle))
    high = min(max([*values, *ends]), max(values) + abs(middle))
    pad = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - pad, high + pad
    step = (_WIDTH - _LEFT - 12) / max(len(rows) - 1, 1)

    def across(place: int) -> float:
        return round(_LEFT + place * step, 1)

    def down(value: float) -> float:
        share: float = (min(max(value, low), high) - low) / (high - low)
        return round(_TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM), 1)

    with_ends = [(n, row) for n, row in enumerate(rows) if row.get("low") is not None]
    upper = [f"{across(n)},{down(row['high'])}" for n, row in with_ends]
    lower = [f"{across(n)},{down(row['low'])}" for n, row in reversed(with_ends)]
    first = max(len(rows) - _MARKS, 0)
    return History(
        metric=metric,
        point=point,
        better=rows[0]["better"],
        line=" ".join(f"{across(n)},{down(v)}" for n, v in enumerate(values)),
        band=" ".join([*upper, *lower]) if len(with_ends) > 1 else "",
        marks=tuple(
            Mark(
                across(n),
                down(values[n]),
                down(row["low"]) if row.get("low") is not None else None,
                down(row["high"]) if row.get("high") is not None else None,
                f"{row['created_at'][:16].replace('T', ' ')}: {row['shown']}",
                row["run"],
            )
            for n, row in enumerate(rows)
            if n >= first
        ),
        ticks=tuple((down(v), quantity(v, unit)) for v in _ticks(low, high)),
        changes=tuple(
            (across(n), moved[row["run"]]) for n, row in enumerate(rows) if row["run"] in moved
        ),
        alt=f"{metric} {point}".strip()
        + f" over {len(rows)} runs, from {rows[0]['shown']} to {rows[-1]['shown']}",
        rows=tuple(reversed(rows[-100:])),
    )


def _ticks(low: float, high: float) -> list[float]:
    """Return two to five round values inside."""
    raw = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * f for f in (1, 2, 2.5, 5, 10) if size * f >= raw)
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step) + 1)][:6]
