"""Quantiles with distribution-free intervals from order statistics.

An interval exists only where there are enough samples for one; a tail that has not been seen is
refused with the number that would do, never extrapolated. It must not know where samples come from:
they count as independent here, and `harness.stats.figures` cares for those that are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.reading import Reading

__all__ = ["needed", "quantile_interval", "too_few"]


def needed(q: float, confidence: float = 0.95) -> int:
    """Return the fewest samples with a two-sided, equal-tailed order-statistic interval of `q`.

    The widest such interval runs from the smallest sample to the largest and misses the quantile
    with probability q^n on one side and (1 - q)^n on the other; both must be within their half of
    the error. For 95 %: 6 samples for p50, 36 for p90, 368 for p99.

    Raises:
        ValueError: where `q` or `confidence` is not between 0 and 1.
    """
    if not (0 < q < 1 and 0 < confidence < 1):
        raise ValueError(f"quantile {q} and confidence {confidence} must lie between 0 and 1")
    return math.ceil(math.log((1 - confidence) / 2) / math.log(max(q, 1 - q)))


def too_few(q: float, n: int, confidence: float = 0.95) -> str | None:
    """Return why `n` samples say nothing of quantile `q`; None where they are enough."""
    least = needed(q, confidence)
    if n >= least:
        return None
    return f"needs {least} samples, has {n}: raise run.max_seconds, run.min_samples or run.rounds"


def quantile_interval(
    x: Sequence[float] | NDArray[np.float64], q: float, confidence: float = 0.95
) -> Reading:
    """Return quantile `q` of independent samples, between two of their order statistics.

    The value interpolates linearly, as numpy and pandas do, so that anyone gets it again from the
    stored samples. It is absent where samples are too few or not finite.

    Raises:
        ValueError: where `q` or `confidence` is not between 0 and 1.
    """
    values = np.sort(np.asarray(x, dtype=np.float64).ravel())
    reason = too_few(q, values.size, confidence)
    if reason is None and not np.isfinite(values).all():
        reason = "a sample is not finite"
    if reason is not None:
        return Reading.absent(reason)
    low, high = _ranks(values.size, q, (1 - confidence) / 2)
    return Reading(
        value=float(np.quantile(values, q)),
        low=float(values[low]),
        high=float(values[high]),
        n=int(values.size),
    )


def _ranks(n: int, q: float, tail: float) -> tuple[int, int]:
    """Return the 0-based ranks between which the quantile lies but for `tail` on each side.

    The number of samples below the quantile is binomial: rank r lies above it with P(Bin <= r),
    and below it with P(Bin > r).
    """
    from scipy.special import bdtr

    at_most = bdtr(np.arange(n, dtype=np.float64), n, q)
    low = int(np.count_nonzero(at_most <= tail)) - 1
    high = int(np.argmax(1 - at_most <= tail))
    return low, high
