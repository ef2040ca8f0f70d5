"""What a disturbance makes of a round: a caution, samples left out, or another attempt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.cautions import Caution, CautionKind, caution
from harness.engine.events import SampleRow
from harness.engine.watching import Seen
from harness.spec import TelemetrySpec
from harness.store.record import PointRecord, RoundRecord

if TYPE_CHECKING:
    from harness.store.telemetry import SeriesKey
    from harness.telemetry.cut import Series

__all__ = ["Judged", "judge"]

_REPEAT_FROM = 0.1
"""A round is repeated where more than this share of a point's iterations was disturbed."""


@dataclass(frozen=True)
class Judged:
    """A round with its doubts, and its samples, those left out marked."""

    record: RoundRecord
    rows: list[SampleRow]
    repeat: bool
    """Whether it was disturbed so much that another attempt is worth its time."""


def judge(
    record: RoundRecord, rows: list[SampleRow], seen: Seen | None, spec: TelemetrySpec, least: int
) -> Judged:
    """Hold what was read against the phases that were timed.

    Args:
        record: Of the round.
        rows: Its samples.
        seen: What was read during it, None where nothing watched.
        spec: What the suite wants done.
        least: Iterations of a point that are kept at least.
    """
    if seen is None:
        return Judged(record, rows, repeat=False)
    record = record.model_copy(
        update={"telemetry": seen.record, "phases": record.phases or list(seen.phases)}
    )
    if seen.telemetry is None:
        series: Mapping[SeriesKey, Series] = {}
    else:
        from harness.telemetry.columns import series_of

        series = series_of(seen.telemetry)
    from harness.telemetry.doubts import cautions_of

    doubts = cautions_of(record, series, seen.record)
    points = [_disturbed(point, record, series) for point in record.points]
    dropped: dict[str, set[int]] = {}
    if spec.on_disturbance == "discard":
        dropped = {point.label: _dropped(point, found, least, spec) for point, found in points}
    kept = [
        point.model_copy(
            update={"disturbed": len(found), "dropped": len(dropped.get(point.label, ()))}
        )
        for point, found in points
    ]
    record = record.model_copy(
        update={
            "points": kept,
            "cautions": [*record.cautions, *doubts, *_discarded(kept, record.round)],
        }
    )
    repeat = any(p.disturbed > _REPEAT_FROM * p.measured_iterations for p in kept)
    return Judged(record, [_marked(row, dropped) for row in rows], repeat)


def _disturbed(
    point: PointRecord, record: RoundRecord, series: Mapping[SeriesKey, Series]
) -> tuple[PointRecord, dict[int, float]]:
    """Return a point with the iterations after warm-up that were disturbed, and by what share."""
    from harness.telemetry.doubts import disturbed_iterations
    from harness.telemetry.spells import spells

    phase = next((p for p in record.phases if (p.name, p.point) == ("measure", point.label)), None)
    if phase is None or point.steady == "exact":
        return point, {}
    found = spells(series, phase.start_ns, phase.end_ns)
    disturbed = disturbed_iterations(point.iterations_ns, found)
    return point, {
        d.iteration: d.share for d in disturbed if d.iteration >= point.warmup_iterations
    }


def _dropped(
    point: PointRecord, disturbed: Mapping[int, float], least: int, spec: TelemetrySpec
) -> set[int]:
    from harness.telemetry.doubts import Disturbed, choose_dropped

    found = [Disturbed(number, share) for number, share in disturbed.items()]
    return choose_dropped(found, point.measured_iterations, least, spec.keep)


def _discarded(points: Sequence[PointRecord], number: int) -> Iterable[Caution]:
    """Say how many samples are left out, and how many disturbed ones had to stay."""
    for point in points:
        if not point.dropped:
            continue
        stayed = point.disturbed - point.dropped
        also = f"; {stayed} more were disturbed, and kept as the minimum" if stayed else ""
        yield caution(
            CautionKind.DISCARDED,
            f"{point.dropped} of {point.measured_iterations} iterations were disturbed and are "
            f"left out of the figures{also}",
            point=point.label,
            round=number,
        )


def _marked(row: SampleRow, dropped: Mapping[str, set[int]]) -> SampleRow:
    if row.phase == "measure" and row.iteration in dropped.get(row.point, ()):
        return row.model_copy(update={"phase": "disturbed"})
    return row
