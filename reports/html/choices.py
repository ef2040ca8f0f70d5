"""Which to choose, on one screen: the best of each question, beside the next and the first."""

from __future__ import annotations

from dataclasses import dataclass

from harness.metrics import Metric
from harness.reading import Reading
from harness.store.answer import Comparison, comparisons, labels, ratio, times_words
from harness.store.record import RunRecord

__all__ = ["Choice", "choices"]


@dataclass(frozen=True)
class Choice:
    """One primary metric at one point."""

    question: str
    better: str
    best: str
    """Label of the best case."""
    value: str
    spread: str
    doubt: str
    """Why the next may be as good; empty where the best is better for sure."""
    runner_up: str
    beside_runner_up: str
    first: str
    """Label of the suite's first case; empty where that is the best or the runner-up."""
    beside_first: str


def choices(record: RunRecord) -> list[Choice]:
    """Return a row per comparison of two cases or more, in the run's order."""
    names = labels(record)
    order = {case.id: place for place, case in enumerate(record.cases)}
    return [
        _choice(compared, names, order)
        for compared in comparisons(record)
        if len(compared.ranked) > 1
    ]


def _choice(compared: Comparison, names: dict[str, str], order: dict[str, int]) -> Choice:
    (best, line), (second, its), *_ = compared.ranked
    first, own = min(compared.ranked, key=lambda entry: order[entry[0].id])
    beside = ratio(line.headline.reading, its.headline.reading)
    apart = first.id not in (best.id, second.id)
    return Choice(
        question=" ".join(filter(None, [compared.scenario, compared.metric.name, compared.point])),
        better=compared.metric.better,
        best=names[best.id],
        value=line.value,
        spread=line.spread,
        doubt=_doubt(beside, compared.metric),
        runner_up=f"{names[second.id]} ({its.value})",
        beside_runner_up=times_words(beside),
        first=f"{names[first.id]} ({own.value})" if apart else "",
        beside_first=times_words(ratio(line.headline.reading, own.headline.reading))
        if apart
        else "",
    )


def _doubt(times: Reading, metric: Metric) -> str:
    """An exact figure is what it is; any other needs an interval that leaves one out."""
    if metric.headline == "once":
        return "the same" if times.value == 1.0 else ""
    if times.low is None:
        return "no interval"
    return "not told apart" if times.low <= 1.0 else ""
