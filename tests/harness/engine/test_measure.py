"""Given what was observed of a point, when it is summed up, its doubts are those that count."""

import pytest

from harness.cautions import CautionKind
from harness.contracts import Observation, Point, Scenario
from harness.engine.measure import PointSeries, result_of
from harness.plugins import find
from harness.reading import Reading
from harness.stats.steady import Steady

MANY_FAULTS = {"minor_faults": Reading(value=300_000.0), "wall_s": Reading(value=1.0)}


def doubts(scenario: str, metric: str, *, once: bool) -> set[CautionKind]:
    series = PointSeries(find(Scenario, scenario), Point(batch=1, context=8, once=once))
    series.add(Observation(values={metric: [1.0]}, transcripts=[]))
    result = result_of(series, Steady(start=0, verdict="flat"), "exact", None, MANY_FAULTS)
    return {doubt.kind for doubt in result.cautions}


def test_first_touch_while_timed_is_a_doubt() -> None:
    assert CautionKind.PAGE_FAULTS in doubts("latency", "itl_ms", once=False)


@pytest.mark.parametrize(("scenario", "metric"), [("memory", "peak_bytes"), ("startup", "ready_s")])
def test_first_touch_is_none_where_it_is_what_is_observed(scenario: str, metric: str) -> None:
    assert CautionKind.PAGE_FAULTS not in doubts(scenario, metric, once=True)
