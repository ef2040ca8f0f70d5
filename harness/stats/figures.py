"""Samples of all rounds to the figures of a case: every metric, point and statistic.

Each process is summarised first, and the spread that is published lies between processes; only
tails are pooled. It must not know which scenario it serves: metrics say what is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.cautions import Caution
from harness.metrics import Metric, Statistic
from harness.reading import Reading
from harness.stats.doubts import above_ceiling, bimodality
from harness.stats.intervals import between_processes
from harness.stats.tails import pooled_quantile
from harness.store.record import Figure, Utilization

__all__ = ["RoundSamples", "bimodality", "figures"]

Array = NDArray[np.float64]
Derive = Callable[[Mapping[tuple[str, str], Reading]], Mapping[str, Reading]]

_TAILS: dict[Statistic, float] = {"p90": 0.9, "p99": 0.99}
_CENTRES: dict[Statistic, Callable[[Array], np.floating]] = {
    "p50": np.median,
    "once": np.median,
    "mean": np.mean,
    "min": np.min,
    "max": np.max,
}
_EXACT = "observed once, in one process"
_NOT_MEASURED = "not measured here"


@dataclass(frozen=True)
class RoundSamples:
    """What one process gave."""

    round: int
    process: int
    values: Mapping[tuple[str, str], Array]
    """(point label, metric) to its samples, those of the warm-up left out, in the metric's unit."""
    ceilings: Mapping[str, Reading] = field(default_factory=dict)
    """Limits measured in this process."""


def figures(
    metrics: Sequence[Metric], rounds: Sequence[RoundSamples], derive: Derive
) -> tuple[list[Figure], list[Caution]]:
    """Return the figures of a case, and what the samples say against them.

    Args:
        metrics: what the scenario declares; a metric without samples and not derived is absent.
        rounds: one entry per process that finished.
        derive: the scenario's `derive`; the interval of what it returns is its own affair.
    """
    found: list[Figure] = []
    doubts: list[Caution] = []
    for metric in metrics:
        for point in _points(metric, rounds):
            samples = [r.values.get((point, metric.name), np.empty(0)) for r in rounds]
            found += [
                Figure(
                    metric=metric.name,
                    point=point,
                    statistic=statistic,
                    reading=_reading(statistic, samples),
                    utilization=_utilization(metric, metrics, point, rounds)
                    if statistic == metric.headline
                    else None,
                )
                for statistic in metric.statistics
            ]
            if metric.primary and (doubt := bimodality(samples, metric.name, point)):
                doubts.append(doubt)
    headline = {
        (figure.metric, figure.point): figure.reading
        for figure in found
        if figure.statistic == next(m for m in metrics if m.name == figure.metric).headline
    }
    derived = derive(headline)
    measured = {metric for metric, _ in headline}
    found += [
        Figure(
            metric=metric.name,
            statistic=metric.headline,
            reading=derived.get(metric.name, Reading.absent(_NOT_MEASURED)),
        )
        for metric in metrics
        if metric.name not in measured
    ]
    return found, [*doubts, *above_ceiling(found)]


def _points(metric: Metric, rounds: Sequence[RoundSamples]) -> list[str]:
    """Return the points that have this metric, in the order they were measured."""
    return list(
        dict.fromkeys(point for r in rounds for point, name in r.values if name == metric.name)
    )


def _reading(statistic: Statistic, samples: Sequence[Array]) -> Reading:
    if statistic in _TAILS:
        return pooled_quantile(samples, _TAILS[statistic])
    filled = [x for x in samples if x.size]
    if not all(np.isfinite(x).all() for x in filled):  # min and max would hide an infinity
        return Reading.absent("a process gave a value that is not finite")
    reading = between_processes([float(_CENTRES[statistic](x)) for x in filled])
    if reading.value is None:
        return reading
    update: dict[str, object] = {"n": sum(x.size for x in filled)}
    if statistic == "once" and reading.no_interval:
        update["no_interval"] = _EXACT
    return reading.model_copy(update=update)


def _utilization(
    metric: Metric, metrics: Sequence[Metric], point: str, rounds: Sequence[RoundSamples]
) -> Utilization | None:
    """Return the share of its ceiling that a metric achieves, itself or through its rate."""
    rate = next((m for m in metrics if m.name == (metric.achieved or metric.name)), None)
    if rate is None or rate.ceiling is None:
        return None
    name = "MBU" if rate.ceiling == "read_bytes_per_s" else "MFU"
    shares: list[float] = []
    reasons: list[str] = []
    for r in rounds:
        samples = r.values.get((point, rate.name), np.empty(0))
        ceiling = r.ceilings.get(rate.ceiling, Reading.absent("the ceiling was not measured"))
        if ceiling.value is None:
            reasons.append(ceiling.reason or "")
        elif ceiling.value <= 0:
            reasons.append("the ceiling was measured as zero")
        elif samples.size:
            shares.append(float(np.median(samples)) / ceiling.value)
    if not shares:
        return Utilization(
            name=name, reading=Reading.absent(reasons[0] if reasons else f"no {rate.name}")
        )
    return Utilization(name=name, reading=between_processes(shares))
