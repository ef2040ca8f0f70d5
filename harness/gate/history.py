"""A metric over the runs of a store: its series, the changes of level in it, and what was changed.

It must not know how it is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise

from pydantic import BaseModel, ConfigDict

from harness.gate.comparable import Difference, case_differences, run_differences
from harness.gate.evidence import Evidence
from harness.metrics import Metric
from harness.stats import change_points
from harness.store.record import CaseRecord, RunRecord

__all__ = ["Change", "History", "Moment", "histories"]


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Moment(_Data):
    """One run's figure."""

    run: str
    created_at: str
    revision: str | None
    value: float
    low: float | None
    high: float | None


class Change(_Data):
    """A change of level, and the runs either side."""

    before: Moment
    """The last run of the old level."""
    after: Moment
    """The first run of the new one."""
    level_before: float
    level_after: float
    p_value: float
    better: bool | None
    """None where the metric has no better side."""
    differences: list[Difference]
    """What else differs between the two runs and matters: machine, software, what was asked."""

    @property
    def ratio(self) -> float | None:
        """New level / old level; None where the old one is zero."""
        return self.level_after / self.level_before if self.level_before else None


class History(_Data):
    """One figure over runs, oldest first."""

    case: str
    metric: Metric
    point: str
    moments: list[Moment]
    changes: list[Change]


def histories(records: Iterable[RunRecord], metric: str, cases: str = "*") -> list[History]:
    """Return the series of a metric's headline, one per case and point.

    Runs that have no such figure are left out, and so are simulated ones, and the two sides of a
    duet: they were measured in turns, unlike all others.

    Args:
        records: In any order.
        metric: Its name.
        cases: Case ids to look at, with `*` and `?`; a bracket stands for itself.
    """
    found: dict[tuple[str, str], list[tuple[RunRecord, CaseRecord, Moment]]] = {}
    definitions: dict[str, Metric] = {}
    for record in sorted(records, key=lambda r: r.created_at):
        definition = next((m for m in record.metrics if m.name == metric), None)
        if definition is None or record.duet is not None or record.simulated is not None:
            continue
        definitions[metric] = definition
        for case in record.cases:
            if not fnmatchcase(case.id, cases.replace("[", "[[]")):
                continue
            for figure in case.figures:
                reading = figure.reading
                if (figure.metric, figure.statistic) != (metric, definition.headline):
                    continue
                if reading.value is not None:
                    moment = Moment(
                        run=record.id,
                        created_at=record.created_at,
                        revision=Evidence(record).revision,
                        value=reading.value,
                        low=reading.low,
                        high=reading.high,
                    )
                    found.setdefault((case.id, figure.point), []).append((record, case, moment))
    return [
        History(
            case=case,
            metric=definitions[metric],
            point=point,
            moments=[moment for _, _, moment in series],
            changes=_changes(series, definitions[metric]),
        )
        for (case, point), series in found.items()
    ]


def _changes(
    series: Sequence[tuple[RunRecord, CaseRecord, Moment]], metric: Metric
) -> list[Change]:
    pairs = list(pairwise(series))
    found = []
    for point in change_points([moment.value for _, _, moment in series]):
        (one, its_case, before), (other, their_case, after) = pairs[point.index - 1]
        rises = point.after > point.before
        better = None if metric.better == "neither" else rises == (metric.better == "higher")
        found.append(
            Change(
                before=before,
                after=after,
                level_before=point.before,
                level_after=point.after,
                p_value=point.p_value,
                better=better,
                differences=[
                    *run_differences(one, other),
                    *case_differences(its_case, their_case),
                ],
            )
        )
    return found
