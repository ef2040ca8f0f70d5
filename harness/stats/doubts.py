"""What samples say against their own figure: two states instead of one, more than the ceiling.

Such a series is named, never averaged away or cleaned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.cautions import Caution, CautionKind, caution
from harness.store.record import Figure

__all__ = ["above_ceiling", "bimodality"]

_SEPARATION = 5.0
"""Ashman's D between the states. A normal sample cut in two has 2.7, a uniform one 3.5."""
_FEW = 10
"""Up to so many values the separation must be twice as large: chance leaves gaps in few values."""
_APART = 0.05
"""States nearer than 5 % matter to nobody."""
_SHARE = 0.15
_MEMBERS = 4
_MAD = 1.4826


def bimodality(
    centres: Sequence[ArrayLike], metric: str, point: str | None = None
) -> Caution | None:
    """Return a caution where pooled values fall into two states; None where one explains them.

    The values are cut where the two parts vary least (on a log scale where all are positive). They
    are two states if each holds at least 15 % of them, and the medians lie 5 % and five standard
    deviations (Ashman's D; more where values are few) apart. What is not finite is left out.

    Args:
        centres: per process, one value per iteration (or one sample each), in the metric's unit.
        metric: its name, for the caution.
        point: label of the point, for the caution.
    """
    arrays = [np.asarray(x, dtype=np.float64).ravel() for x in centres]
    x = np.sort(np.concatenate(arrays)) if arrays else np.empty(0)
    x = x[np.isfinite(x)]
    least = max(_MEMBERS, math.ceil(_SHARE * x.size))
    if x.size < 2 * least:
        return None
    y = np.log(x) if x[0] > 0 else x
    cut = _cut(y, least)
    low, high = y[:cut], y[cut:]
    apart = float(np.median(high) - np.median(low))
    noise = math.sqrt((_spread(low) ** 2 + _spread(high) ** 2) / 2)
    near = _APART if x[0] > 0 else _APART * float(np.median(np.abs(x)))
    if apart <= near or apart < _SEPARATION * (1 + _FEW / x.size) * noise:
        return None
    a, b = float(np.median(x[:cut])), float(np.median(x[cut:]))
    return caution(
        CautionKind.BIMODAL,
        f"{metric} has two states: {a:.4g} ({cut} of {x.size} values) and {b:.4g}",
        metric=metric,
        point=point,
    )


def above_ceiling(figures: Iterable[Figure]) -> list[Caution]:
    """Return a caution for each figure that is more than the limit measured beside it."""
    return [
        caution(
            CautionKind.ABOVE_CEILING,
            f"{figure.metric} implies {share.name} {share.reading.value:.0%} of its measured limit",
            metric=figure.metric,
            point=figure.point,
        )
        for figure in figures
        if (share := figure.utilization) is not None
        and share.reading.value is not None
        and share.reading.value > 1.0
    ]


def _cut(y: NDArray[np.float64], least: int) -> int:
    """Return where a sorted sample falls into two parts with the least squares in all."""
    n = y.size
    sums = np.cumsum(y - y.mean())
    at = np.arange(least, n - least + 1)
    between = sums[at - 1] ** 2 / at + sums[at - 1] ** 2 / (n - at)
    return int(at[np.argmax(between)])


def _spread(y: NDArray[np.float64]) -> float:
    """Return the standard deviation of one part, robustly: its own outliers are no evidence."""
    robust = _MAD * float(np.median(np.abs(y - np.median(y)))) * y.size / (y.size - 0.8)
    return robust if robust > 0 else float(y.std())
