"""One point of a case: iterate until steady and sure enough, or until the time is spent.

It must not know what is measured: a scenario yields observations, a rule says when to stop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.cautions import Caution, CautionKind, caution
from harness.contracts import Lab, Observation, Point, Scenario, Session, Span, Transcript
from harness.engine.clock import now_ns, seconds_since
from harness.engine.events import Progress, SampleRow, SpanRow
from harness.errors import SessionError
from harness.metrics import Metric
from harness.quiet import Snapshot, cautions_for, quietness, snapshot
from harness.reading import Reading
from harness.stats.steady import Steady
from harness.stats.stopping import StoppingRule
from harness.store.record import BlockRecord, PointRecord

__all__ = ["PointResult", "PointSeries", "measure_point", "primary_of", "result_of"]

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
    spans: list[SpanRow]
    """Of the measured iterations."""
    blocks: list[BlockRecord] = field(default_factory=list)
    """In a duet."""


class PointSeries:
    """What was observed of a point so far."""

    def __init__(self, scenario: Scenario, point: Point) -> None:
        self.point = point
        self.primary = primary_of(scenario)
        self._declared = {m.name for m in scenario.metrics}
        self.centres: list[float] = []
        """Of the primary metric; none where the point is observed once."""
        self.values: list[dict[str, list[float]]] = []
        self.transcripts: list[list[Transcript]] = []
        self.spans: list[list[Span]] = []
        self.marks: list[Snapshot] = []
        self.starts_ns: list[int] = []
        self._mark()

    def add(self, observation: Observation) -> None:
        """Keep one observation.

        Raises:
            SessionError: where it has a metric that was not declared, lacks the primary one, or has
            a span that lies outside.
        """
        if unknown := set(observation.values) - self._declared:
            raise SessionError(f"the scenario yields metrics it did not declare: {unknown}")
        begun_ns = self.starts_ns[-1]
        if any(not begun_ns <= s.start_ns <= s.end_ns <= now_ns() for s in observation.spans):
            raise SessionError("the scenario yields a span that does not lie in its iteration")
        self.values.append({k: [float(x) for x in v] for k, v in observation.values.items()})
        self.transcripts.append(list(observation.transcripts))
        self.spans.append(list(observation.spans))
        self._mark()
        if not self.point.once:
            self.centres.append(_centre(observation.values, self.primary))

    def _mark(self) -> None:
        self.marks.append(snapshot())
        self.starts_ns.append(now_ns())


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
    series = PointSeries(scenario, point)
    primary = series.primary
    start_ns = drawn_ns = now_ns()
    stopped, half_width, steady = "exact", None, Steady(start=0, verdict="flat")
    for observation in scenario.measure(session, point, options, lab):
        end_ns = now_ns()
        series.add(observation)
        if point.once:
            break
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
    return result_of(series, steady, stopped, half_width)


def _centre(values: Any, primary: Metric) -> float:
    found = values.get(primary.name)
    if not found:
        raise SessionError(f"an iteration gave no {primary.name}")
    return float(np.median(found))


def result_of(
    series: PointSeries,
    steady: Steady,
    stopped: str,
    half_width: float | None,
    quiet: Mapping[str, Reading] | None = None,
) -> PointResult:
    """Return what a point gave, split into warm-up and what was measured.

    Args:
        series: All that was observed.
        steady: Where its steady part begins.
        stopped: Why sampling ended.
        half_width: Of the primary metric, within this process.
        quiet: What the machine did besides, where that is not all that happened meanwhile.

    Raises:
        SessionError: where nothing was observed.
    """
    if not series.values:
        raise SessionError("the scenario yielded no observation")
    point, primary = series.point, series.primary
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
    quiet = dict(quiet or quietness(series.marks[start], series.marks[-1]))
    # What is observed once is memory itself, and touching it for the first time is no disturbance.
    own = {CautionKind.PAGE_FAULTS} if point.once else set()
    found = [c for c in cautions_for(quiet) if c.kind not in own]
    doubts = [c.model_copy(update={"point": point.label}) for c in found]
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
        spans=[
            SpanRow(
                point=point.label,
                kind=span.kind,
                start_ns=span.start_ns,
                end_ns=span.end_ns,
                tokens=span.tokens,
            )
            for spans in series.spans[start:]
            for span in spans
        ],
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
