"""When to stop sampling a process: sure enough of its centre, or out of samples or time.

The half-width here is within one process. It only says that more iterations of this process would
teach little; the interval that is published is between processes. So it is looked at after every
iteration without correction for repeated looks, which a published interval would need.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.stats.intervals import WIDEST, t_quantile
from harness.stats.steady import Steady, steady_state

__all__ = ["Decision", "StoppingRule", "centre_half_width"]

Reason = Literal["target", "max-samples", "budget"]

_OVERDRAFT = 3.0
"""The least number of samples is worth this many budgets of time, no more."""
_MAD = 1.4826
_MEDIAN_COST = math.sqrt(math.pi / 2)
"""Standard error of a median relative to that of a mean, normal samples."""
_WINSOR = 3.0
_MAX_CORRELATION = 0.95


@dataclass(frozen=True)
class Decision:
    """Whether to stop, why, and what was known then."""

    stop: bool
    reason: Reason | None
    steady: Steady
    half_width: float | None
    """Relative 95 % half-width of the centre within this process; None where there is none yet."""


@dataclass(frozen=True)
class StoppingRule:
    """How long a point is sampled in one process."""

    min_samples: int
    """Steady iterations at least, unless that takes more than three budgets."""
    max_samples: int
    """Iterations at most, warm-up included."""
    target: float
    """Relative half-width that is good enough."""
    max_seconds: float
    """Sampling time."""
    higher_is_faster: bool = False
    """Whether the primary metric is a rate, so that warm-up and slow-down are told apart."""

    def decide(self, series: Sequence[float], elapsed_s: float) -> Decision:
        """Return whether the next iteration is worth its time.

        Args:
            series: One centre of the primary metric per iteration so far.
            elapsed_s: Since sampling began.
        """
        steady = steady_state(series, higher_is_faster=self.higher_is_faster)
        half_width = centre_half_width(series[steady.start :])
        reason = self._reason(len(series), steady, half_width, elapsed_s)
        return Decision(reason is not None, reason, steady, half_width)

    def _reason(
        self, n: int, steady: Steady, half_width: float | None, elapsed_s: float
    ) -> Reason | None:
        enough = n - steady.start >= self.min_samples
        settled = steady.verdict not in ("no-steady-state", "too-short")
        if enough and settled and half_width is not None and half_width <= self.target:
            return "target"
        if n >= self.max_samples:
            return "max-samples"
        if elapsed_s >= self.max_seconds and (
            enough or (n > 0 and elapsed_s >= _OVERDRAFT * self.max_seconds)
        ):
            return "budget"
        return None


def centre_half_width(series: Sequence[float]) -> float | None:
    """Return the relative 95 % half-width of the median of a correlated series.

    Robust, so that a burst of others' load does not buy samples that change no median: the spread
    comes from the median absolute deviation. Correlation from one iteration to the next leaves
    n (1 - r) / (1 + r) independent ones. None for fewer than two values, a median of zero, or
    values that are not finite.
    """
    x = np.asarray(series, dtype=np.float64)
    if x.size < 2 or not np.isfinite(x).all():
        return None
    positive = bool((x > 0).all())
    y = np.log(x) if positive else x
    centre = float(np.median(y))
    if not positive and centre == 0:
        return None
    spread = _spread(y - centre)
    r = _correlation(np.clip(y - centre, -_WINSOR * spread, _WINSOR * spread))
    independent = max(x.size * (1 - r) / (1 + r), 2.0)
    half = t_quantile(independent - 1) * _MEDIAN_COST * spread / math.sqrt(independent)
    return math.expm1(min(half, WIDEST)) if positive else half / abs(centre)


def _spread(deviations: NDArray[np.float64]) -> float:
    """Return the standard deviation, robustly, corrected for what small samples understate."""
    n = deviations.size
    spread = _MAD * float(np.median(np.abs(deviations))) * n / (n - 0.8)
    # More than half of the values are one: a coarse clock or an exact count.
    return spread if spread > 0 else float(deviations.std(ddof=1))


def _correlation(deviations: NDArray[np.float64]) -> float:
    """Return the correlation of neighbours, from 0, corrected for the bias of short series."""
    n = deviations.size
    centred = deviations - deviations.mean()
    variance = float((centred**2).sum())
    if variance == 0 or n < 4:
        return 0.0
    r = float((centred[1:] * centred[:-1]).sum()) / variance
    return min(max(r + (1 + 3 * r) / n, 0.0), _MAX_CORRELATION)
