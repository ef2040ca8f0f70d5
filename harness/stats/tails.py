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
from numpy.typing import NDArray

from harness.reading import Reading
from harness.stats.intervals import ONE_PROCESS, t_quantile
from harness.stats.quantiles import too_few

__all__ = ["pooled_quantile"]

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
