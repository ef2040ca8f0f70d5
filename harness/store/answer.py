"""The answer of a run in one sentence a comparison: which case is fastest, by how much, how surely.

Cases are compared where model, scenario and the scenario's options are the same. The interval of a
ratio comes from the two figures' own intervals, combined on the log scale (Zou and Donner's MOVER,
Statistics in Medicine 27, 2008); rounds are fresh processes, so the two are independent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.metrics import Metric
from harness.reading import Reading
from harness.store.record import CaseRecord, RunRecord
from harness.store.view import Line, lines

__all__ = [
    "Comparison",
    "answers",
    "comparisons",
    "headline",
    "labels",
    "quotient",
    "ratio",
    "times_better",
    "times_words",
    "tokens_words",
]


_EVERYWHERE = ("dtype", "threads", "device", "model")
"""Options of every backend; the defaults of all others tell backends apart no better than names."""
_FAR = 1000.0
"""An interval that reaches so many times beyond its ratio is not worth reading out."""
_WIDEST = 300.0
"""On a log scale; from there on its ends are no floating-point numbers."""


@dataclass(frozen=True)
class Comparison:
    """One primary metric at one point, over the cases that differ only in how they execute."""

    metric: Metric
    point: str
    scenario: str
    ranked: tuple[tuple[CaseRecord, Line], ...]
    """Best first; only cases with a value."""


def comparisons(record: RunRecord) -> list[Comparison]:
    """Return what can be compared, in the run's order; a lone case is a comparison of one."""
    groups: dict[tuple[str, ...], list[tuple[CaseRecord, Line]]] = {}
    for case in record.cases:
        alike = (case.model, case.scenario, json.dumps(case.scenario_options, sort_keys=True))
        for line in lines(case, record) if case.status == "done" else []:
            if line.metric.primary and line.headline.reading.value is not None:
                groups.setdefault((*alike, line.metric.name, line.point), []).append((case, line))
    return [
        Comparison(found[0][1].metric, key[-1], key[1], tuple(sorted(found, key=_rank)))
        for key, found in groups.items()
    ]


def _rank(entry: tuple[CaseRecord, Line]) -> float:
    value = entry[1].headline.reading.value or 0.0
    return -value if entry[1].metric.better == "higher" else value


def answers(record: RunRecord) -> list[str]:
    """Return one sentence per comparison; one that says so where no case has a figure."""
    names = labels(record)
    return [_sentence(c, names) for c in comparisons(record)] or ["No case has a figure."]


def headline(record: RunRecord, *, tokens: bool = True) -> str:
    """Return the answer in one sentence: who, how much, how surely, beside whom.

    The best of the first comparison stands beside the suite's first case, or beside the runner-up
    where it is that case itself.

    Args:
        record: A run's record.
        tokens: Whether the sentence ends with what the checks found.
    """
    names = labels(record)
    end = f"; {tokens_words(record)}" if tokens else ""
    found = comparisons(record)
    compared = next((c for c in found if len(c.ranked) > 1), None)
    if compared is None:
        return (_sentence(found[0], names) if found else "No case has a figure") + end
    (best, line), *others = compared.ranked
    first = min(others, key=lambda entry: record.cases.index(entry[0]))
    base, its = others[0] if record.cases.index(best) < record.cases.index(first[0]) else first
    where = f"{compared.scenario}{f' at {compared.point}' if compared.point else ''}"
    times = ratio(line.headline.reading, its.headline.reading)
    figures = f"{compared.metric.name} {line.value} against {its.value}"
    if times.value is None or times.low is None or times.high is None:
        words = f"{names[best.id]} is {_beside(times, compared.metric)} {names[base.id]} in {where}"
    elif times.low <= 1.0:
        words = f"{names[best.id]} and {names[base.id]} cannot be told apart in {where}"
        figures += f", {times_words(times)}"
    else:
        words = f"{names[best.id]} is {_beside(times, compared.metric)} {names[base.id]} in {where}"
    more = f", best of {len(compared.ranked)}" if len(compared.ranked) > 2 else ""
    return f"{words}{more} ({figures}){end}"


def tokens_words(record: RunRecord) -> str:
    """Return what the checks found over all cases, in a few words."""
    count = {s: sum(c.status == s for c in record.cases) for s in ("done", "incorrect", "failed")}
    bad = [f"{n} {status}" for status, n in count.items() if status != "done" and n]
    checks = [c for case in record.cases for r in case.rounds for c in (r.check, r.audit) if c]
    passed = [c for c in checks if c.passed]
    if not checks:
        words = "no tokens were checked"
    elif all(c.top1_agreement == 1.0 for c in passed):
        whose = "the other cases' tokens" if count["incorrect"] else "all tokens"
        words = f"{whose} agree with the float32 reference"
    else:
        lowest = min(c.top1_agreement for c in passed)
        words = f"tokens agree with the float32 reference within tolerance, {100 * lowest:.3g} %"
    if bad and not count["done"]:
        return " and ".join(bad)
    return f"{words}; {' and '.join(bad)} without figures" if bad else words


def labels(record: RunRecord) -> dict[str, str]:
    """Return a short name per case id: the backend, and the options in which its cases differ.

    What every backend takes (model, precision, threads, device) is named where a case differs in it
    from one that has figures: a backend that cannot run here lengthens no other name. An option of
    one backend is named only where that backend's own cases differ.
    """
    options = [{**c.backend_options, "model": c.model} for c in record.cases]
    common = {key for key in _EVERYWHERE if all(key in own for own in options)}
    shown = [o for c, o in zip(record.cases, options, strict=True) if c.figures] or options
    alike: dict[str, list[dict[str, Any]]] = {}
    for case, own in zip(record.cases, options, strict=True):
        alike.setdefault(case.backend, []).append(own)
    differs = {backend: _differing(some) for backend, some in alike.items()}
    everywhere = _differing(shown)
    names = {}
    for case, own in zip(record.cases, options, strict=True):
        said = [
            str(own[key]) if key in ("dtype", "model") else f"{key}={own[key]}"
            for key in own
            if key in (everywhere if key in common else differs[case.backend])
            or (key in common and own[key] != shown[0][key])
        ]
        names[case.id] = " ".join([case.backend, *said])
    by_scenario = {(names[c.id], c.scenario, str(c.scenario_options)) for c in record.cases}
    return names if len(by_scenario) == len(record.cases) else {c.id: c.id for c in record.cases}


def _differing(options: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the options in which some of these are not as the first."""
    keys = {key for own in options for key in own}
    return {key for key in keys if any(o.get(key) != options[0].get(key) for o in options)}


def ratio(best: Reading, other: Reading) -> Reading:
    """Return how many times the larger of two figures is the smaller one, with its interval.

    The value is at least 1; an interval that reaches below 1 means that the two cannot be told
    apart.
    """
    if best.value is not None and other.value is not None and best.value < other.value:
        best, other = other, best
    return quotient(best, other)


def times_better(figure: Reading, base: Reading, metric: Metric) -> Reading:
    """Return how many times better a figure is than another; below 1 it is worse."""
    return quotient(figure, base) if metric.better == "higher" else quotient(base, figure)


def quotient(top: Reading, bottom: Reading) -> Reading:
    """Return one figure over another, with its interval; absent where they have no ratio."""
    if not top.value or not bottom.value or top.value < 0 or bottom.value < 0:
        return Reading.absent("a ratio needs two values above zero")
    value = _log(top.value) - _log(bottom.value)
    ends = (top.low, top.high, bottom.low, bottom.high)
    if any(end is None or end <= 0 for end in ends):
        return Reading(value=math.exp(value), no_interval="one of the two figures has none")
    down = math.hypot(_log(top.value) - _log(top.low), _log(bottom.high) - _log(bottom.value))
    up = math.hypot(_log(top.high) - _log(top.value), _log(bottom.value) - _log(bottom.low))
    if max(down, up) > _WIDEST:
        return Reading(value=math.exp(value), no_interval="the two intervals are too wide for one")
    return Reading(value=math.exp(value), low=math.exp(value - down), high=math.exp(value + up))


def _log(value: float | None) -> float:
    assert value is not None
    return math.log(value)


def _sentence(comparison: Comparison, names: dict[str, str]) -> str:
    metric = comparison.metric
    what = f"{metric.name} ({comparison.point})" if comparison.point else metric.name
    case, line = comparison.ranked[0]
    own = f"{line.value} {line.spread}".strip()
    if len(comparison.ranked) == 1:
        return f"{names[case.id]}: {what} {own}"
    others = comparison.ranked[1:]
    more = f", best of {len(comparison.ranked)}" if len(others) > 2 else ""
    said = [
        _beside(ratio(line.headline.reading, its.headline.reading), metric)
        + f" {names[other.id]} ({its.value})"
        for other, its in (others if len(others) < 3 else (others[0], others[-1]))
    ]
    return f"{names[case.id]}: {what} {own}{more}, {' and '.join(said)}"


def _beside(times: Reading, metric: Metric) -> str:
    """Say `1.8× [1.7, 1.9] faster than`, or that no difference can be told."""
    if times.value is None:
        return "beside"
    if times.low is not None and times.low <= 1.0:
        return f"cannot be told apart ({times_words(times)}) from"
    doubt = " (no interval)" if times.low is None and metric.headline != "once" else ""
    return f"{times_words(times)}{doubt} {_better(metric)} than"


def times_words(times: Reading) -> str:
    """Return `1.80× [1.70, 1.90]`, or the factor and that its interval says nothing."""
    if times.value is None:
        return "–"
    if times.low is None or times.high is None:
        return f"{_factor(times.value)}×"
    if times.high >= _FAR * times.value:
        return f"{_factor(times.value)}×, interval too wide to read"
    return f"{_factor(times.value)}× [{_factor(times.low)}, {_factor(times.high)}]"


def _factor(times: float) -> str:
    return f"{times:.2f}" if times < 100 else f"{times:,.0f}"


def _better(metric: Metric) -> str:
    if metric.unit in ("ms", "s", "us", "ns", "tokens/s"):
        return "faster"
    return "lower" if metric.better == "lower" else "higher"
