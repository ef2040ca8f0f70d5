"""Log centres to one estimated log ratio with its error: paired, or two independent sides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.stats.centres import Centres
from harness.stats.robust import robust_centre

__all__ = ["Estimate", "paired_estimate", "unpaired_estimate", "winsorised"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A log ratio, candidate to base."""

    value: float
    error: float
    """Standard error; 0 where all pairs agree exactly."""
    degrees: float
    """Of freedom, for Student's t."""
    pairs: int

    @property
    def p_value(self) -> float:
        """Two-sided, of a log ratio of zero."""
        from scipy.special import stdtr

        if self.value == 0:
            return 1.0
        if self.error == 0:
            return 0.0
        return float(2 * stdtr(self.degrees, -abs(self.value) / self.error))

    def within(self, limit: float, level: float) -> bool:
        """Return whether it lies between -limit and limit at a level for each side."""
        from scipy.special import stdtrit

        half = float(stdtrit(self.degrees, 1 - level)) * self.error
        return abs(self.value) + half < limit


def paired_estimate(centres: Centres) -> Estimate:
    """Return the robust centre of the pairs' log ratios."""
    found = robust_centre(centres.cand - centres.base)
    return Estimate(float(found.value), float(found.error), found.degrees, centres.pairs)


def unpaired_estimate(centres: Centres) -> Estimate:
    """Return the difference of the sides' winsorised means, Welch's error.

    A side may mix two states of the machine half and half. There a redescending centre would fall
    into one of them; a mean with only gross outliers pulled in does not.
    """
    values, variances, degrees = [], [], []
    for side in (centres.cand, centres.base):
        pulled, kept = winsorised(side)
        values.append(float(pulled.mean()))
        variances.append(float(pulled.var(ddof=1)) / side.size if side.size > 1 else math.inf)
        degrees.append(max(kept - 1, 1))
    variance = sum(variances)
    if not math.isfinite(variance):
        freedom = 1.0
    elif variance == 0:
        freedom = float(sum(degrees))
    else:
        freedom = variance**2 / sum(v**2 / d for v, d in zip(variances, degrees, strict=True))
    return Estimate(values[0] - values[1], math.sqrt(variance), freedom, centres.pairs)


_FENCE = 4.0
_MAD = 1.4826


def winsorised(x: Array) -> tuple[Array, int]:
    """Return values with gross outliers pulled to a fence, and how many were not pulled."""
    centre = np.median(x)
    reach = _FENCE * _MAD * np.median(np.abs(x - centre))
    if reach == 0:
        return x, x.size
    pulled = np.clip(x, centre - reach, centre + reach)
    return pulled, int(np.count_nonzero(pulled == x))
