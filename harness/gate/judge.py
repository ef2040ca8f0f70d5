"""Two sides and a margin become a judgement: figure by figure, then over the family.

Correctness first, as everywhere: a case whose tokens are wrong or other than before fails, whatever
its speed. Then primary metrics, with the family's error held by Holm's procedure; all the rest is
exploration, corrected by Benjamini and Hochberg, and decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.gate.comparable import Difference, case_differences, is_allowed, run_differences
from harness.gate.evidence import Evidence, Key, Series
from harness.gate.judgement import Judgement, Row, Side
from harness.gate.paired import Pairs, are_paired, pairs_of
from harness.stats import (
    Comparison,
    SequentialPlan,
    benjamini_hochberg,
    compare,
    compare_exact,
    compare_stored,
    compare_tails,
    decide,
    holm,
)
from harness.store.record import CaseRecord
from harness.store.view import why_no_figures

__all__ = ["Rules", "judge", "matched"]

_TAILS = {"p90": 0.9, "p99": 0.99}
_TAIL_MARGIN = 0.1
"""Tails are noisier than centres."""
_FALSE_DISCOVERIES = 0.05
_FIGURES = re.compile(r"^[+-][\d.]+% \([^)]*\): ")
"""With which a reason may begin; the row has them already."""


@dataclass(frozen=True)
class Rules:
    """What counts as a change, and what may differ."""

    margin: float = 0.03
    """Relative change that matters."""
    exact_margin: float = 0.01
    """The same for bytes and counts, which need no test."""
    margins: dict[str, float] = field(default_factory=dict)
    """Margins of their own, by metric."""
    alpha: float = 0.01
    """False alarms over the whole family of primary metrics."""
    allow: tuple[str, ...] = ()
    """Keys of differences that are taken on record."""
    only: tuple[str, ...] = ()
    """Metrics to look at; these then decide, primary or not. All where empty."""
    drop_straddling: bool = False
    """Leave pairs of blocks out that straddle a switch of the machine's state."""

    def margin_of(self, series: Series) -> float:
        """Return the margin of a metric."""
        general = self.exact_margin if series.exact else self.margin
        return self.margins.get(series.metric.name, general)


def judge(
    base: Evidence,
    cand: Evidence,
    rules: Rules,
    *,
    labels: tuple[str, str] = ("base", "candidate"),
    history: Sequence[Evidence] = (),
) -> Judgement:
    """Hold a candidate against a base.

    Args:
        base: The side that counts as given.
        cand: The side in question.
        rules: What counts as a change.
        labels: What the sides are to the user.
        history: Earlier runs of the base's kind, oldest first, from which run-to-run variance is
            learned.
    """
    paired = are_paired(base, cand)
    judging = _Judging(base, cand, rules, paired, history)
    # In a duet the software is what is compared, and the machine is one by construction.
    apart = [] if paired else run_differences(base.record, cand.record, rules.allow)
    rows = list(judging.rows(blocked=[d for d in apart if not d.allowed]))
    rows = _over_family(rows, rules.alpha, paired=paired)
    differences = [*apart, *judging.differences]
    return Judgement(
        base=_side(base, labels[0]),
        cand=_side(cand, labels[1]),
        method=judging.method(),
        rows=rows,
        differences=list({d.key: d for d in differences}.values()),
        notes=judging.notes,
    )


def matched(
    base: Evidence, cand: Evidence
) -> Iterator[tuple[CaseRecord | None, CaseRecord | None]]:
    """Pair the cases of two sides: by id, or one by one where they are two sides of a duet.

    A duet of two settings has the same cases under two ids.
    """
    if are_paired(base, cand):
        yield from zip(base.record.cases, cand.record.cases, strict=True)
        return
    ours = cand.cases
    for case in base.record.cases:
        yield case, ours.pop(case.id, None)
    for case in ours.values():
        yield None, case


class _Judging:
    """What the rows of one judgement share."""

    def __init__(
        self,
        base: Evidence,
        cand: Evidence,
        rules: Rules,
        paired: bool,
        history: Sequence[Evidence],
    ) -> None:
        self._base = base
        self._cand = cand
        self._rules = rules
        self._paired = paired
        self._history = history
        self._plan = SequentialPlan(false_alarm=rules.alpha / max(1, _decided_by_test(cand, rules)))
        self._blocks = 0
        self._straddling = 0
        self.differences: list[Difference] = []
        self.notes: list[str] = []

    def rows(self, blocked: Sequence[Difference]) -> Iterator[Row]:
        for one, other in matched(self._base, self._cand):
            if one is None:
                assert other is not None
                self.notes.append(f"{other.id} is new: the base has nothing to hold it against")
                continue
            if other is None:
                yield Row(
                    case=one.id, kind="case", verdict="no-figure",
                    reason="the candidate has no such case",
                )  # fmt: skip
                continue
            yield from self._case(one, other, list(blocked))

    def method(self) -> str:
        """Say how the sides were held against each other."""
        if not self._paired:
            earlier = len(self._history)
            return "unpaired: a stored baseline, with run-to-run variance " + (
                f"from {earlier} earlier runs" if earlier else "assumed, no earlier run"
            )
        duet = self._cand.record.duet
        assert duet is not None
        words = (
            "paired: both sides loaded, one generation each in turn, the resting one frozen"
            if duet.interleaved == "generations"
            else f"paired: whole processes in turn, {duet.because}"
        )
        if self._straddling:
            dropped = "left out" if self._rules.drop_straddling else "kept"
            words += (
                f"; {self._straddling} of {self._blocks} pairs of blocks straddle a switch of "
                f"the machine's state, {dropped}"
            )
        return words

    def _case(self, one: CaseRecord, other: CaseRecord, blocked: list[Difference]) -> Iterator[Row]:
        for case, whose in ((other, "the candidate"), (one, "the base")):
            if case.status == "done":
                continue
            wrong = case is other and case.status == "incorrect" and one.status == "done"
            yield Row(
                case=other.id,
                kind="correctness" if wrong else "case",
                verdict="regression" if wrong else "no-figure",
                reason=f"{whose}: {why_no_figures(case)}",
            )
            return
        apart = case_differences(one, other, self._rules.allow)
        if self._paired:
            # What else differs is what the user compares: two settings, or two revisions' defaults.
            chosen = [d for d in apart if d.key not in ("model", "scenario_version")]
            apart = [d.model_copy(update={"allowed": True}) if d in chosen else d for d in apart]
        self.differences += apart
        blocked += [d for d in apart if not d.allowed]
        yield from self._tokens(one, other)
        keys = [k for k in self._cand.series if k.case == other.id]
        for key in keys:
            yield from self._figure(key._replace(case=one.id), key, blocked)

    def _tokens(self, one: CaseRecord, other: CaseRecord) -> Iterator[Row]:
        """The same prompts must give the same tokens, unless other ones are taken on record."""
        before, after = _digests(one), _digests(other)
        if len(before) != 1 or len(after) != 1 or before == after:
            return  # nothing to hold against each other, or tokens that vary by themselves
        asked = one.scenario_options, one.backend_options.get("dtype")
        if asked != (other.scenario_options, other.backend_options.get("dtype")):
            return
        if is_allowed("tokens", self._rules.allow):
            self.notes.append(f"{other.id}: other tokens than the base's, as allowed")
            return
        yield Row(
            case=other.id,
            kind="correctness",
            verdict="regression",
            metric="tokens",
            reason="the same prompts give other tokens than the base's, though both pass the "
            "check; --allow-different tokens takes that on record",
        )

    def _figure(self, one: Key, other: Key, blocked: Sequence[Difference]) -> Iterator[Row]:
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
            cand=_centre(cand),
            base=_centre(base) if base else None,
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
            self._blocks += pairs.blocks
            self._straddling += pairs.straddling
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


def _decided_by_test(cand: Evidence, rules: Rules) -> int:
    """Return how many figures the looks of a duet share their false alarms among."""
    return sum(
        not series.exact and (series.metric.primary or series.metric.name in rules.only)
        for series in cand.series.values()
        if not rules.only or series.metric.name in rules.only
    )


def _over_family(rows: list[Row], alpha: float, *, paired: bool) -> list[Row]:
    """Correct for the number of rows: a change that chance may have made among many is none.

    The looks of a duet share their false alarms already.
    """
    corrected = list(rows)
    procedures: tuple[tuple[bool, Callable[[Sequence[float]], list[float]], float, str], ...] = (
        (True, holm, alpha, "primary figures"),
        (False, benjamini_hochberg, _FALSE_DISCOVERIES, "figures explored"),
    )
    for primary, correct, level, name in procedures:
        family = [
            i for i, row in enumerate(rows) if row.primary == primary and row.p_value is not None
        ]
        if primary and paired:
            continue
        values = correct([rows[i].p_value or 0.0 for i in family])
        for i, p_value in zip(family, values, strict=True):
            update: dict[str, object] = {"p_value": float(p_value)}
            if rows[i].verdict in ("regression", "improvement") and p_value > level:
                update["verdict"] = "inconclusive"
                update["reason"] = (
                    f"chance may have made it among {len(family)} {name} (p = {p_value:.2g})"
                )
            corrected[i] = rows[i].model_copy(update=update)
    return corrected


def _side(evidence: Evidence, label: str) -> Side:
    return Side(
        run=evidence.record.id,
        label=label,
        revision=evidence.revision,
        created_at=evidence.record.created_at,
    )


def _digests(case: CaseRecord) -> set[str]:
    seen = {r.facts.get("tokens_digest") for r in case.rounds if r.status == "done"}
    return {str(digest) for digest in seen if digest}


def _centre(series: Series) -> float:
    """Return the centre of the processes' centres, as the figure has it."""
    centres = [float(np.median(x)) for x in series.processes if x.size]
    if not centres:
        return float("nan")
    positive = min(centres) > 0
    return float(np.exp(np.mean(np.log(centres))) if positive else np.mean(centres))


def _quantile(series: Series, q: float) -> float | None:
    pooled = np.concatenate(series.processes) if series.processes else np.empty(0)
    return float(np.quantile(pooled, q)) if pooled.size else None
