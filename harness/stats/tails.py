"""Tail quantiles over several processes: pooled samples, and an interval that knows processes.

Order statistics alone would take samples of one process for independent ones and promise far too
much. So whole processes are resampled (the cluster bootstrap), and because there are few of them,
the spread that gives is read with Student's t rather than as percentiles, which would stop at the
outermost process.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.reading import Reading
from harness.stats.centres import log_centres
from harness.stats.compare import EQUIVALENCE, Better, Comparison, incomparable, judge
from harness.stats.estimates import Estimate
from harness.stats.intervals import ONE_PROCESS, t_quantile
from harness.stats.quantiles import too_few

__all__ = ["compare_tails", "pooled_quantile"]

Array = NDArray[np.float64]

_DRAWS = 1000


def pooled_quantile(processes: Sequence[Array], q: float, confidence: float = 0.95) -> Reading:
    """Return quantile `q` of the samples of all processes, with its cluster-bootstrap interval.

    Absent with the number of samples that would do where they are too few. The seed is fixed: the
    same samples always give the same interval.

    Args:
        processes: the samples of each fresh process, in the metric's unit; empty ones are ignored.
        q: between 0 and 1.
        confidence: of the interval.
    """
    groups = [x for x in processes if x.size]
    pooled = np.concatenate(groups) if groups else np.empty(0)
    n, k = int(pooled.size), len(groups)
    if n == 0:
        return Reading.absent("no process gave a value")
    if not np.isfinite(pooled).all():
        return Reading.absent("a process gave a value that is not finite")
    if reason := too_few(q, n, confidence):
        return Reading.absent(reason)
    value = float(np.quantile(pooled, q))
    if k == 1:
        return Reading(value=value, n=n, processes=1, no_interval=ONE_PROCESS)
    drawn = _resampled(groups, q)
    positive = value > 0 and bool((drawn > 0).all())
    spread = float((np.log(drawn) if positive else drawn).std()) * math.sqrt(k / (k - 1))
    half = t_quantile(k - 1, confidence) * spread
    if positive:
        # Beyond this factor the exponential overflows, and the interval says nothing anyway.
        low, high = value * math.exp(-min(half, 300)), value * math.exp(min(half, 300))
    else:
        low, high = value - half, value + half
    if not (math.isfinite(low) and math.isfinite(high)):
        return Reading(value=value, n=n, processes=k, no_interval="the processes lie too far apart")
    return Reading(value=value, low=low, high=high, n=n, processes=k)


def compare_tails(
    base: Sequence[ArrayLike],
    cand: Sequence[ArrayLike],
    q: float = 0.99,
    *,
    better: Better = "lower",
    margin: float = 0.1,
    alpha: float = 0.01,
) -> Comparison:
    """Compare quantile `q` of two interleaved sides; the verdicts are those of `compare`.

    Pairs of processes are resampled together, so that what both sides of a pair saw cancels. Where
    a side has too few samples for the tail, the answer is inconclusive, with the number it needs.

    Args:
        base: per fresh process, its samples, in the metric's unit.
        cand: likewise; pairs ran next to each other.
        q: between 0 and 1.
        better: which way is better.
        margin: a change up to this share is nobody's concern; tails are noisy, so it is wider.
        alpha: level of the two-sided test for a change.
    """
    centres = log_centres(base, cand, paired=True)
    if isinstance(centres, str):
        return incomparable(centres)
    arrays = [
        (np.asarray(a, dtype=np.float64).ravel(), np.asarray(b, dtype=np.float64).ravel())
        for a, b in zip(base, cand, strict=False)
    ]
    pairs = [(a, b) for a, b in arrays if a.size and b.size]
    sides = [[a for a, _ in pairs], [b for _, b in pairs]]
    for name, side in zip(("base", "candidate"), sides, strict=True):
        if reason := too_few(q, sum(x.size for x in side)):
            said = f"{name}: p{100 * q:g} {reason}"
            return Comparison("inconclusive", None, None, None, None, len(pairs), said)
    quantiles = [float(np.quantile(np.concatenate(side), q)) for side in sides]
    value = math.log(quantiles[1] / quantiles[0])
    if len(pairs) == 1:
        ratio = math.exp(value)
        return Comparison("inconclusive", ratio, None, None, None, 1, ONE_PROCESS)
    drawn = np.log(_resampled(sides[1], q)) - np.log(_resampled(sides[0], q))
    error = float(drawn.std()) * math.sqrt(len(pairs) / (len(pairs) - 1))
    estimate = Estimate(value, error, len(pairs) - 1.0, len(pairs))
    return judge(estimate, better, margin, alpha, EQUIVALENCE, note=centres.note)


def _resampled(groups: Sequence[Array], q: float) -> Array:
    """Return the pooled quantile of each bootstrap draw of processes: float64 [draws]."""
    order = np.argsort(np.concatenate(groups), kind="stable")
    pooled = np.concatenate(groups)[order]
    owner = np.repeat(np.arange(len(groups)), [x.size for x in groups])[order]
    random = np.random.Generator(np.random.Philox(0))
    draws = random.multinomial(len(groups), [1 / len(groups)] * len(groups), size=_DRAWS)
    # Few processes have few different draws: each is computed once.
    weights, times = np.unique(draws, axis=0, return_counts=True)
    quantiles = []
    for weight in weights:
        reached = np.cumsum(weight[owner])
        quantiles.append(pooled[np.searchsorted(reached, q * reached[-1])])
    return np.repeat(np.asarray(quantiles, dtype=np.float64), times)
