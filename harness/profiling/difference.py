"""Base and candidate, row by row: what grew, by how much, how surely, and what is left over.

Rows are matched by operator and function, not by line: lines move when code above them changes.
Each side was profiled in several fresh processes; a row's difference has an interval from those,
and a row whose interval holds zero explains nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.profiling.record import PhaseProfile, Profile, Row
from harness.stats.intervals import factor, t_quantile

__all__ = ["CONFIDENCE", "Change", "PhaseChange", "difference", "together"]

Key = tuple[str, str]
"""Operator and function."""
CONFIDENCE = 0.99
"""Of a row's interval; widened by Bonferroni for the number of rows that are looked at."""
_LEAST_SHARE = 0.02
"""Of the change or of base's time: less is not worth a name."""


@dataclass(frozen=True)
class Change:
    """One row's difference between candidate and base, per call of the phase."""

    operator: str
    function: str
    family: str
    ns: float
    """Candidate minus base; above zero is slower."""
    low: float
    high: float
    calls: tuple[float, float]
    """Of base and of candidate."""
    line: int | None
    """In the candidate, or in base where the candidate has none."""
    dtypes: tuple[str, str]
    base_ns: float = 0.0
    """What it took before."""
    pairs: tuple[float, ...] = ()
    """The difference in each pair of processes."""

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0

    @property
    def is_new(self) -> bool:
        """Whether base has no such calls."""
        return self.calls[0] == 0 < self.calls[1]


@dataclass(frozen=True)
class PhaseChange:
    """A phase's difference, and the rows that explain it, the largest first."""

    phase: str
    base_ns: float
    """Without a profiler: mean over processes of the median call."""
    ratio: float
    """Candidate to base, without a profiler."""
    low: float
    high: float
    changes: tuple[Change, ...]
    """All rows, by size of their difference."""
    explained: tuple[Change, ...]
    """Those that are sure, alone or with the others of their function, and matter."""

    @property
    def change_ns(self) -> float:
        """What the phase takes longer, without a profiler."""
        return self.base_ns * (self.ratio - 1)

    @property
    def profiled_ns(self) -> float:
        """What the phase takes longer under the profiler, to which the rows add up.

        The profiler costs a new operator something too, so rows are shares of this rather than of
        `change_ns`; where the two do not even agree in sign, of the latter.
        """
        whole = math.fsum(change.ns for change in self.changes)
        return whole if whole * self.change_ns > 0 else self.change_ns

    @property
    def is_sure(self) -> bool:
        """Whether the phase's own interval leaves `no change` out."""
        return self.low > 1 or self.high < 1

    def share(self, change: Change) -> float:
        """Return the share of the phase's change that a row's difference is."""
        return change.ns / self.profiled_ns if self.profiled_ns else 0.0

    @property
    def unexplained(self) -> float:
        """The share of the phase's change that no named row explains; below zero: too much."""
        return 1.0 - sum(self.share(change) for change in self.explained)


def difference(base: Sequence[Profile], cand: Sequence[Profile], phase: str) -> PhaseChange | None:
    """Compare a phase of two sides that were profiled in turn.

    Args:
        base: One profile per fresh process, at least two for an interval.
        cand: Likewise, in the same order of rounds.
        phase: `prefill` or `decode`.

    Returns:
        None where a side has no such phase or there are fewer than two pairs.
    """
    pairs = [
        (b, c)
        for b, c in zip(
            (p.phase(phase) for p in base), (p.phase(phase) for p in cand), strict=False
        )
        if b is not None and c is not None
    ]
    if len(pairs) < 2:
        return None
    logs = np.array([math.log(c.plain_ns / b.plain_ns) for b, c in pairs])
    middle, low, high = _interval(logs, 0.95)
    changes = _changes(pairs)
    whole = factor(middle) - 1
    base_ns = float(np.mean([b.plain_ns for b, _ in pairs]))

    def matters(ns: float) -> bool:
        least = max(0.05 * abs(whole), min(_LEAST_SHARE, 0.1 * abs(whole)))
        return (ns > 0) == (whole > 0) and abs(ns) > least * base_ns

    explained = [change for change in changes if change.is_sure and matters(change.ns)]
    explained += [
        change
        for group in _sure_together(changes)
        if matters(sum(c.ns for c in group)) and not any(c in explained for c in group)
        for change in group
    ]
    sure = low > 0 or high < 0
    return PhaseChange(
        phase=phase,
        base_ns=base_ns,
        ratio=factor(middle),
        low=factor(low),
        high=factor(high),
        changes=tuple(changes),
        explained=tuple(explained) if sure else (),
    )


def together(changes: Sequence[Change], confidence: float) -> tuple[float, float, float]:
    """Return how much rows changed in sum, and the interval of that sum."""
    return _interval(np.sum([change.pairs for change in changes], axis=0), confidence)


def _sure_together(changes: Sequence[Change]) -> list[list[Change]]:
    """Return the rows of each function that surely changed in sum.

    Time moves between an operator and the host around it, from process to process; their sum is
    steadier than each of them.
    """
    grouped: dict[str, list[Change]] = {}
    for change in changes:
        if change.function:
            grouped.setdefault(change.function, []).append(change)
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(grouped))
    found = []
    for group in grouped.values():
        if len(group) > 1:
            _, low, high = together(group, confidence)
            if low > 0 or high < 0:
                found.append(group)
    return found


def _changes(pairs: Sequence[tuple[PhaseProfile, PhaseProfile]]) -> list[Change]:
    sides = [[_by_key(p) for p in side] for side in zip(*pairs, strict=True)]
    keys = sorted({key for side in sides for rows in side for key in rows})
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(keys))
    made = []
    for key in keys:
        b, c = ([rows.get(key) for rows in side] for side in sides)
        ns = np.array([_ns(y) - _ns(x) for x, y in zip(b, c, strict=True)])
        one_sided = all(r is None for r in b) or all(r is None for r in c)
        middle, low, high = (_geometric if one_sided else _interval)(ns, confidence)
        some = next(r for r in (*c, *b) if r is not None)
        made.append(
            Change(
                operator=key[0],
                function=key[1],
                family=some.family,
                ns=middle,
                low=low,
                high=high,
                calls=(_mean_calls(b), _mean_calls(c)),
                line=some.line,
                dtypes=(_dtypes(b), _dtypes(c)),
                base_ns=float(np.mean([_ns(row) for row in b])),
                pairs=tuple(map(float, ns)),
            )
        )
    return sorted(made, key=lambda change: -abs(change.ns))


def _by_key(profile: PhaseProfile) -> dict[Key, Row]:
    grouped: dict[Key, Row] = {}
    for row in profile.rows:
        key = (row.operator, row.function)
        assert key not in grouped, key
        grouped[key] = row
    return grouped


def _interval(x: np.ndarray, confidence: float) -> tuple[float, float, float]:
    half = t_quantile(x.size - 1, confidence) * float(x.std(ddof=1)) / math.sqrt(x.size)
    middle = float(x.mean())
    return middle, middle - half, middle + half


def _geometric(x: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """Return mean and interval of a row that only one side has: its times have one sign.

    How long it takes may vary much from process to process; that it takes time is not in doubt.
    """
    if not (np.all(x > 0) or np.all(x < 0)):
        return _interval(x, confidence)
    sign = float(np.sign(x[0]))
    ends = [factor(end) for end in _interval(np.log(np.abs(x)), confidence)[1:]]
    low, high = sorted(sign * end for end in ends)
    return float(x.mean()), low, high


def _ns(row: Row | None) -> float:
    return 0.0 if row is None else row.ns


def _mean_calls(rows: Sequence[Row | None]) -> float:
    return float(np.mean([0.0 if r is None else r.calls for r in rows]))


def _dtypes(rows: Sequence[Row | None]) -> str:
    return next((r.dtypes for r in rows if r is not None), "")
