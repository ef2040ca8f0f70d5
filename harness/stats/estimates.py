"""Log centres to one estimated log ratio with its error, and what may be concluded from it.

`answers` is the rule of the gate. It takes arrays as well as numbers, so that the simulations which
prove the rule run the rule itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats.centres import Centres, median
from harness.stats.robust import robust_centre

__all__ = ["Estimate", "answers", "paired_estimate", "unpaired_estimate", "winsorised"]

Array = NDArray[np.float64]

_FENCE = 4.0
"""Robust standard deviations from the median beyond which a process is a gross outlier."""
_MAD = 1.4826


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
        return float(_p_value(self.value, self.error, self.degrees))


def answers(
    value: ArrayLike,
    error: ArrayLike,
    degrees: ArrayLike,
    *,
    limit: float,
    alpha: float,
    equivalence: float,
) -> NDArray[np.str_]:
    """Return what may be said of log ratios: "same", "larger", "smaller" or "open".

    Args:
        value: estimated log ratios, [...].
        error: their standard errors.
        degrees: of freedom.
        limit: the margin on a log scale; "same" lies within it either way.
        alpha: two-sided level of the test for a change.
        equivalence: level of each of the two tests that the change is within the limit.
    """
    from scipy.special import stdtrit

    value, error = np.asarray(value, np.float64), np.asarray(error, np.float64)
    reach = np.asarray(stdtrit(degrees, 1 - equivalence)) * error
    changed = (np.abs(value) > limit) & (_p_value(value, error, degrees) <= alpha)
    return np.select(
        [np.abs(value) + reach < limit, changed & (value > 0), changed],
        ["same", "larger", "smaller"],
        "open",
    )


def _p_value(value: ArrayLike, error: ArrayLike, degrees: ArrayLike) -> Array:
    from scipy.special import stdtr

    size = np.abs(np.asarray(value, np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(size == 0, 0.0, size / np.asarray(error, np.float64))
    return np.asarray(2 * stdtr(degrees, -t), np.float64)


def paired_estimate(centres: Centres) -> Estimate:
    """Return the robust centre of the pairs' log ratios."""
    found = robust_centre(centres.cand - centres.base)
    return Estimate(float(found.value), float(found.error), float(found.degrees), centres.pairs)


def unpaired_estimate(centres: Centres) -> Estimate:
    """Return the difference of the sides' winsorised means, with Welch's error; [2 or more] each.

    A side may mix two states of the machine half and half. There a redescending centre would fall
    into one of them; a mean with only gross outliers pulled in does not.
    """
    sides = [winsorised(side) for side in (centres.cand, centres.base)]
    value = float(sides[0].mean() - sides[1].mean())
    variances = [float(side.var(ddof=1)) / side.size for side in sides]
    total = sum(variances)
    shares = [v**2 / (side.size - 1) for v, side in zip(variances, sides, strict=True)]
    # No spread at all: any number of degrees leaves an interval of no width.
    degrees = total**2 / sum(shares) if sum(shares) > 0 else 1.0
    return Estimate(value, math.sqrt(total), degrees, centres.pairs)


def winsorised(x: Array) -> Array:
    """Return log centres with gross outliers pulled to a fence; [n] to [n]."""
    centre = median(x)
    reach = _FENCE * _MAD * median(np.abs(x - centre))
    return np.clip(x, centre - reach, centre + reach) if reach > 0 else x
