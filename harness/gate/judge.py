"""Two sides and a margin become a judgement: figure by figure, then over the family.

Correctness first, as everywhere: a case whose tokens are wrong or other than before fails, whatever
its speed. Then primary metrics, with the family's error held by Holm's procedure; all the rest is
exploration, corrected by Benjamini and Hochberg, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.errors import InputError, did_you_mean
from harness.gate.comparable import Difference, case_differences, is_allowed, run_differences
from harness.gate.correction import over_family
from harness.gate.evidence import Evidence, Key
from harness.gate.figures import Figures, centre_of
from harness.gate.judgement import Judgement, Row, Side
from harness.gate.paired import are_paired
from harness.gate.rules import Rules
from harness.store.record import CaseRecord
from harness.store.simulated import refuse_simulated
from harness.store.view import why_no_figures

__all__ = ["judge", "matched"]


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

    Raises:
        InputError: where the rules name a metric that neither side has, or a side was simulated.
    """
    for side in (base, cand):
        refuse_simulated(side.record, "a side of a comparison")
    _require_metrics(rules, base, cand)
    paired = are_paired(base, cand)
    judging = _Judging(base, cand, rules, paired, history)
    # In a duet the software is what is compared, and the machine is one by construction.
    apart = [] if paired else run_differences(base.record, cand.record, rules.allow)
    rows = list(judging.rows(blocked=[d for d in apart if not d.allowed]))
    rows = over_family(rows, rules.alpha, paired=paired)
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
        self._figures = Figures(base, cand, rules, history)
        self.differences: list[Difference] = []
        self.notes = self._figures.notes

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
        if self._figures.straddling:
            dropped = "left out" if self._rules.drop_straddling else "kept"
            share = f"{self._figures.straddling} of {self._figures.blocks}"
            words += (
                f"; {share} pairs of blocks straddle a switch of the machine's state, {dropped}"
            )
        return words

    def _case(self, one: CaseRecord, other: CaseRecord, blocked: list[Difference]) -> Iterator[Row]:
        for case, whose in ((other, "the candidate"), (one, "the base")):
            if case.status == "done":
                self._lost(case, whose)
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
            yield from self._figures.rows(key._replace(case=one.id), key, blocked)
        yield from self._gone(one, other, {key._replace(case=one.id) for key in keys})

    def _gone(self, one: CaseRecord, other: CaseRecord, seen: set[Key]) -> Iterator[Row]:
        """A figure that decided and is there no more is no pass."""
        only = self._rules.only
        for key, series in self._base.series.items():
            decides = series.metric.name in only if only else series.metric.primary
            if key.case == one.id and key not in seen and decides:
                yield Row(
                    case=other.id,
                    metric=key.metric,
                    point=key.point,
                    kind="case",
                    verdict="no-figure",
                    unit=series.metric.unit,
                    base=centre_of(series),
                    reason="the candidate has no such figure",
                )

    def _lost(self, case: CaseRecord, whose: str) -> None:
        """Note rounds that failed in a case that has figures all the same."""
        bad = [r for r in case.rounds if r.status != "done"]
        if bad:
            why = f": {bad[0].failure.reason}" if bad[0].failure else ""
            rounds = f"{len(bad)} of {len(case.rounds)} rounds"
            self.notes.append(f"{case.id}: {rounds} of {whose} have no figure{why}")

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


def _require_metrics(rules: Rules, base: Evidence, cand: Evidence) -> None:
    known = {m.name for side in (base, cand) for m in side.record.metrics}
    for name in rules.only:
        if name not in known:
            raise InputError(
                f'neither side has a metric "{name}"',
                expected=f"one of {', '.join(sorted(known))}",
                remedy=did_you_mean(name, known).rstrip() or None,
            )


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
