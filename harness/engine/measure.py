"""One point of a case: iterate until steady and sure enough, or until the time is spent.

It must not know what is measured: a scenario yields observations, a rule says when to stop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.cautions import Caution, CautionKind, caution
from harness.contracts import Lab, Point, Scenario, Session, Transcript
from harness.engine.clock import now_ns, seconds_since
from harness.engine.events import Progress, SampleRow
from harness.errors import SessionError
from harness.metrics import Metric
from harness.quiet import Snapshot, cautions_for, quietness, snapshot
from harness.reading import Reading
from harness.stats.steady import Steady
from harness.stats.stopping import StoppingRule
from harness.store.record import PointRecord

__all__ = ["PointResult", "measure_point", "primary_of"]

_DRAW_SECONDS = 0.5
_STEADY_CAUTIONS = {
    "slowdown": "grew slower while it was measured",
    "no-steady-state": "never settled",
    "too-short": "has too few iterations to tell whether it is steady",
}


@dataclass(frozen=True)
class PointResult:
    """What one point gave in this process."""

    record: PointRecord
    samples: list[SampleRow]
    quiet: dict[str, Reading]
    cautions: list[Caution]
    transcripts: list[Transcript]
    """A few of those made while measured, for the audit."""
    tokens_digest: str
    """Of the first iteration's tokens: its prompts are the same in every round."""
    steady_at_ns: int
    """When the first steady iteration began."""
    end_ns: int


@dataclass
class _Series:
    """What was observed so far."""

    centres: list[float] = field(default_factory=list)
    values: list[dict[str, list[float]]] = field(default_factory=list)
    transcripts: list[list[Transcript]] = field(default_factory=list)
    marks: list[Snapshot] = field(default_factory=list)
    starts_ns: list[int] = field(default_factory=list)


def primary_of(scenario: Scenario) -> Metric:
    """Return the metric that the stopping rule looks at."""
    return next(m for m in scenario.metrics if m.primary)


def measure_point(
    scenario: Scenario,
    session: Session,
    point: Point,
    options: Any,
    lab: Lab,
    rule: StoppingRule,
    progress: Callable[[Progress], None],
) -> PointResult:
    """Measure one point.

    Raises:
        SessionError: where the scenario yields a metric it did not declare, or none at all.
    """
    primary = primary_of(scenario)
    declared = {m.name for m in scenario.metrics}
    series = _Series()
    start_ns = drawn_ns = now_ns()
    stopped, half_width, steady = "exact", None, Steady(start=0, verdict="flat")
    _mark(series)
    for observation in scenario.measure(session, point, options, lab):
        end_ns = now_ns()
        if unknown := set(observation.values) - declared:
            raise SessionError(f"the scenario yields metrics it did not declare: {unknown}")
        series.values.append({k: [float(x) for x in v] for k, v in observation.values.items()})
        series.transcripts.append(list(observation.transcripts))
        _mark(series)
        if point.once:
            break
        series.centres.append(_centre(observation.values, primary))
        decision = rule.decide(series.centres, seconds_since(start_ns))
        steady, half_width = decision.steady, decision.half_width
        if decision.stop:
            stopped = str(decision.reason)
            break
        if end_ns - drawn_ns > _DRAW_SECONDS * 1e9:
            drawn_ns = end_ns
            progress(
                Progress(
                    point=point.label,
                    iterations=len(series.centres),
                    metric=primary.name,
                    value=float(np.median(series.centres[steady.start :])),
                    half_width=half_width,
                )
            )
    if not series.values:
        raise SessionError("the scenario yielded no observation")
    return _result(point, series, steady, stopped, half_width, primary)


def _mark(series: _Series) -> None:
    series.marks.append(snapshot())
    series.starts_ns.append(now_ns())


def _centre(values: Any, primary: Metric) -> float:
    found = values.get(primary.name)
    if not found:
        raise SessionError(f"an iteration gave no {primary.name}")
    return float(np.median(found))


def _result(
    point: Point,
    series: _Series,
    steady: Steady,
    stopped: str,
    half_width: float | None,
    primary: Metric,
) -> PointResult:
    start = 0 if point.once else steady.start
    samples = [
        SampleRow(
            point=point.label,
            phase="warmup" if i < start else "measure",
            iteration=i,
            metric=metric,
            values=values,
        )
        for i, observed in enumerate(series.values)
        for metric, values in observed.items()
    ]
    quiet = quietness(series.marks[start], series.marks[-1])
    doubts = [c.model_copy(update={"point": point.label}) for c in cautions_for(quiet)]
    if not point.once and steady.verdict in _STEADY_CAUTIONS:
        doubts.append(
            caution(
                CautionKind.NOT_STEADY,
                f"{primary.name} {_STEADY_CAUTIONS[steady.verdict]}",
                metric=primary.name,
                point=point.label,
            )
        )
    return PointResult(
        record=PointRecord(
            label=point.label,
            batch=point.batch,
            context=point.context,
            warmup_iterations=start,
            measured_iterations=len(series.values) - start,
            steady="exact" if point.once else steady.verdict,
            stopped=stopped,
            half_width=half_width,
            iterations_ns=series.starts_ns,
            new_tokens=sum(len(t.token_ids) for row in series.transcripts[start:] for t in row),
        ),
        samples=samples,
        quiet=quiet,
        cautions=doubts,
        transcripts=_some(series.transcripts[start:]),
        tokens_digest=_digest(series.transcripts[0]),
        steady_at_ns=series.starts_ns[start],
        end_ns=series.starts_ns[-1],
    )


def _digest(transcripts: Sequence[Transcript]) -> str:
    return hashlib.sha256(repr([t.token_ids for t in transcripts]).encode()).hexdigest()[:8]


def _some(transcripts: Sequence[list[Transcript]]) -> list[Transcript]:
    """The first and the last of the measured iterations' first and last rows stand for all."""
    rows = [t for t in transcripts if t]
    if not rows:
        return []
    chosen = [rows[0][0], rows[-1][-1]]
    return list(dict.fromkeys(chosen))
