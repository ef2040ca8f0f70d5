"""One figure held against another: exactly, as pairs, or as runs of two days; and its tails."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from harness.gate.comparable import Difference
from harness.gate.correction import decided_by_test
from harness.gate.evidence import Evidence, Key, Series
from harness.gate.judgement import Row
from harness.gate.paired import Pairs, are_paired, pairs_of
from harness.gate.rules import Rules
from harness.stats import (
    Comparison,
    SequentialPlan,
    compare,
    compare_exact,
    compare_stored,
    compare_tails,
    decide,
)
from harness.stats.centres import median

__all__ = ["Figures", "centre_of"]

_TAILS = {"p90": 0.9, "p99": 0.99}
_TAIL_MARGIN = 0.1
"""Tails are noisier than centres."""
_FIGURES = re.compile(r"^[+-][\d.]+% \([^)]*\): ")
"""With which a reason may begin; the row has them already."""


class Figures:
    """Compares figures of two sides, and counts what was seen on the way."""

    def __init__(
        self, base: Evidence, cand: Evidence, rules: Rules, history: Sequence[Evidence]
    ) -> None:
        self._base = base
        self._cand = cand
        self._rules = rules
        self._history = history
        self._paired = are_paired(base, cand)
        self._plan = SequentialPlan(false_alarm=rules.alpha / max(1, decided_by_test(cand, rules)))
        self.blocks = 0
        self.straddling = 0
        self.notes: list[str] = []

    def rows(self, one: Key, other: Key, blocked: Sequence[Difference]) -> Iterator[Row]:
        """Yield a figure's row and those of its tails; none where it has no better side.

        Args:
            one: What is compared, as the base calls it.
            other: The same, as the candidate calls it.
            blocked: Why it cannot be compared.
        """
        cand = self._cand.series[other]
        base = self._base.series.get(one)
        metric, rules = cand.metric, self._rules
        if metric.better == "neither" or (rules.only and metric.name not in rules.only):
            return
        if not (rules.only or metric.primary) and self._is_behind(metric.name):
            return
        row = Row(
            case=other.case,
            metric=metric.name,
            point=other.point,
            kind="exact" if cand.exact else "speed",
            verdict="incomparable",
            primary=metric.primary or metric.name in rules.only,
            statistic=metric.headline,
            unit=metric.unit,
            better=metric.better,
            cand=centre_of(cand),
            base=centre_of(base) if base else None,
            margin=rules.margin_of(cand),
        )
        if base is None:
            self.notes.append(f"{other.case}: {row.name} is new")
            return
        if blocked:
            more = f" and {len(blocked) - 1} more" if len(blocked) > 1 else ""
            why = f"{blocked[0].words()}{more}; --allow-different {blocked[0].key} takes it"
            yield row.model_copy(update={"reason": why})
            return
        yield _with(row, self._compared(one, other, base, cand))
        if rules.tails:
            yield from self._tails(row, base, cand)

    def _compared(self, one: Key, other: Key, base: Series, cand: Series) -> Comparison:
        better, margin = cand.metric.better, self._rules.margin_of(cand)
        assert better != "neither"
        if cand.exact:
            return compare_exact(base.processes, cand.processes, margin, better=better)
        alpha = self._rules.alpha
        if self._paired:
            pairs = self._pairs(one, other, counted=cand.metric.primary)
            number = len(pairs.base)
            look = self._plan.at(number) or self._plan.closing(number)
            if look is None:
                return compare(pairs.base, pairs.cand, better=better, margin=margin, alpha=alpha)
            return decide(pairs.base, pairs.cand, look, better=better, margin=margin)
        before = [h.series[one].processes for h in self._history if one in h.series]
        return compare_stored(
            [*before, base.processes], cand.processes, better=better, margin=margin, alpha=alpha
        )

    def _pairs(self, one: Key, other: Key, *, counted: bool) -> Pairs:
        pairs = pairs_of(self._base, self._cand, one, other, drop=self._rules.drop_straddling)
        if counted:
            self.blocks += pairs.blocks
            self.straddling += pairs.straddling
        return pairs

    def _tails(self, row: Row, base: Series, cand: Series) -> Iterator[Row]:
        """Tails are explored and decide nothing; a stored baseline's spread of tails is unknown."""
        for statistic in cand.metric.statistics:
            if statistic not in _TAILS or cand.metric.better == "neither":
                continue
            q = _TAILS[statistic]
            update: dict[str, object] = {
                "kind": "tail",
                "statistic": statistic,
                "primary": False,
                "margin": _TAIL_MARGIN,
                "base": _quantile(base, q),
                "cand": _quantile(cand, q),
            }
            tail = row.model_copy(update=update)
            if self._paired:
                sides = base.processes, cand.processes
                better = cand.metric.better
                yield _with(tail, compare_tails(*sides, q, better=better, margin=_TAIL_MARGIN))
            else:
                why = "how far tails differ from run to run is not known; harness ab pairs them"
                yield tail.model_copy(update={"verdict": "inconclusive", "reason": why})

    def _is_behind(self, name: str) -> bool:
        """Whether a rate stands behind another metric's MBU or MFU: the same thing twice."""
        return any(m.achieved == name for m in self._cand.record.metrics)


def _with(row: Row, found: Comparison) -> Row:
    update = {
        "verdict": found.verdict,
        "ratio": found.ratio,
        "low": found.low,
        "high": found.high,
        "p_value": found.p_value,
        "pairs": found.pairs,
        "reason": _FIGURES.sub("", found.reason),
    }
    return row.model_copy(update=update)


def centre_of(series: Series) -> float:
    """Return the centre of the processes' centres, as the figure has it."""
    centres = [median(x) for x in series.processes if x.size]
    if not centres:
        return float("nan")
    positive = min(centres) > 0
    return float(np.exp(np.mean(np.log(centres))) if positive else np.mean(centres))


def _quantile(series: Series, q: float) -> float | None:
    pooled = np.concatenate(series.processes) if series.processes else np.empty(0)
    return float(np.quantile(pooled, q)) if pooled.size else None
