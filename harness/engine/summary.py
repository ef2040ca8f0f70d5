"""Rounds to figures: what a case's record says once its processes have ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.cautions import Caution, CautionKind, caution
from harness.contracts import Scenario
from harness.metrics import Metric
from harness.stats.figures import RoundSamples, figures
from harness.store import Run
from harness.store.record import CaseRecord, CaseStatus, RoundRecord

__all__ = ["measured_values", "status_of", "summarise"]

Measured = dict[tuple[str, int], dict[tuple[str, str], NDArray[np.float64]]]
"""(case id, round) to (point, metric) to samples."""

_WIDE = 0.10


def status_of(rounds: Sequence[RoundRecord]) -> CaseStatus:
    """Return what a case is worth: one wrong round makes it incorrect, one good one done."""
    seen = {r.status for r in rounds}
    for status in ("incorrect", "done", "failed", "unavailable"):
        if status in seen:
            return status
    return "pending"


def measured_values(run: Run) -> Measured:
    """Return the samples of the measured phase, by case and round, then by point and metric."""
    frame = run.samples
    frame = frame[frame["phase"] == "measure"]
    found: Measured = {}
    keys = ["case", "round", "point", "metric"]
    for key, values in frame.groupby(keys, observed=True, sort=False)["value"]:
        case, number, point, metric = map(str, key)
        group = found.setdefault((case, int(number)), {})
        group[point, metric] = values.to_numpy(dtype=np.float64)
    return found


def summarise(case: CaseRecord, scenario: Scenario, values: Measured) -> None:
    """Fill in a case's status, figures and cautions from its rounds; a wrong one has no figure."""
    case.status = status_of(case.rounds)
    case.figures = []
    case.cautions = []
    if case.status != "done":
        return
    rounds = [
        RoundSamples(
            round=r.round,
            process=r.pid or 0,
            values=values.get((case.id, r.round), {}),
            ceilings=r.ceilings,
        )
        for r in case.rounds
        if r.status == "done"
    ]
    case.figures, doubts = figures(scenario.metrics, rounds, scenario.derive)
    case.cautions = list(_merged([*doubts, *_cautions(case, scenario.metrics, rounds)]))


def _cautions(
    case: CaseRecord, metrics: Sequence[Metric], rounds: Sequence[RoundSamples]
) -> Iterable[Caution]:
    for record in case.rounds:
        yield from record.cautions
        if record.status == "failed" and record.failure:
            yield caution(
                CautionKind.ROUND_LOST,
                f"a round failed in {record.failure.phase}: {record.failure.reason}",
                round=record.round,
            )
    noisy = [m for m in metrics if m.primary and m.headline != "once"]
    if noisy and len(rounds) == 1:
        yield caution(
            CautionKind.FEW_ROUNDS, "one process: its spread says nothing of the next one's"
        )
    for figure in case.figures:
        width = figure.reading.half_width
        headline = next((m for m in noisy if m.name == figure.metric), None)
        if headline and figure.statistic == headline.headline and width and width > _WIDE:
            yield caution(
                CautionKind.WIDE,
                f"{figure.metric} is known only to ± {_shown(width)}",
                metric=figure.metric,
                point=figure.point,
            )
    digests = {r.facts.get("tokens_digest") for r in case.rounds if r.status == "done"}
    if len(digests) > 1:
        yield caution(
            CautionKind.TOKENS_DIFFER, "the same prompts gave other tokens in another round"
        )


def _shown(width: float) -> str:
    return f"{width:.0%}" if width < 10 else "more than 1000%"


def _merged(doubts: Iterable[Caution]) -> Iterable[Caution]:
    """One line per kind and metric: the first message, and in how many other places it was seen."""
    grouped: dict[tuple[object, ...], list[Caution]] = {}
    for doubt in doubts:
        grouped.setdefault((doubt.kind, doubt.metric), []).append(doubt)
    for same in grouped.values():
        where = {c.point for c in same}
        others = len(same) - 1
        also = f" (and {others} more time{'s' if others > 1 else ''})" if others else ""
        point = same[0].point if len(where) == 1 else None
        yield same[0].model_copy(update={"message": same[0].message + also, "point": point})
