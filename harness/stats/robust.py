"""The centre of log ratios with its own error, whatever the noise: what the gate rests on.

Where noise is about normal, nothing beats the mean with Student's error. Where the machine switches
between states, some pairs straddle a switch and lie 20 % off, and the mean drowns in them; Tukey's
biweight gives such pairs no weight. Which of both noises it is shows in the errors: the biweight's
is much smaller than the mean's only where values lie far out. Normal noise is taken for the other
kind in one to three of a hundred cases, and the error rates hold over that choice as well:
docs/statistics.md.

All functions work along the last axis, so that the simulations which prove the gate run the very
code that decides in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Centre", "robust_centre"]

Array = NDArray[np.float64]

_FEW = 10
"""In fewer values an outlier cannot be told from noise."""
_REACH = 4.0
"""Median deviations from the centre at which a value loses all weight. Fewer than the usual six:
the biweight is used only where there are outliers, and then the sharper one wins."""
_DOUBT = 2.0
"""The biweight is preferred if its error is below 1 - 2/√n of the mean's: the fewer the values, the
more often chance alone makes it small."""
_AGREE = 0.6
"""Share of values within reach that it takes; a coarse clock's most frequent tick is no centre."""
_LEAST_SLOPE = 0.1
"""Per value; below it the weights rest on too few values for an error."""
_STEPS = 10


@dataclass(frozen=True)
class Centre:
    """A centre and its standard error, each [...] without the axis that was summarised."""

    value: Array
    error: Array
    degrees: Array
    """Of freedom, for Student's t of `(value - truth) / error`."""
    robust: Array
    """Whether far values were given less weight."""


def robust_centre(x: Array) -> Centre:
    """Return the centre of at least two finite values along the last axis: [..., n] to [...]."""
    n = x.shape[-1]
    mean, mean_error = x.mean(axis=-1), x.std(axis=-1, ddof=1) / np.sqrt(n)
    if n < _FEW:
        return Centre(mean, mean_error, np.full_like(mean, n - 1.0), np.zeros(mean.shape, bool))
    value, error = _biweight(x)
    robust = error < (1 - _DOUBT / np.sqrt(n)) * mean_error
    return Centre(
        np.where(robust, value, mean),
        np.where(robust, error, mean_error),
        np.where(robust, (n - 5) / 2, n - 1.0),
        robust,
    )


def _biweight(x: Array) -> tuple[Array, Array]:
    """Return the biweight and its error (Mosteller and Tukey 1977, chapter 10), each [...].

    Its error rests on few values and is itself uncertain: Student's t holds with about (n - 5) / 2
    degrees of freedom where the biweight is preferred. The error is infinite where too few values
    agree, or more than half of them are one, so that there is no scale to tell outliers by.
    """
    n = x.shape[-1]
    centre = np.median(x, axis=-1, keepdims=True)
    reach = _REACH * np.median(np.abs(x - centre), axis=-1, keepdims=True)
    usable = reach > 1e-9 * np.abs(x - centre).max(axis=-1, keepdims=True)
    reach = np.where(usable, reach, 1.0)
    for _ in range(_STEPS):
        weight = np.clip(1 - ((x - centre) / reach) ** 2, 0, None) ** 2
        total = weight.sum(axis=-1, keepdims=True)
        centre = (weight * x).sum(axis=-1, keepdims=True) / np.where(total > 0, total, 1.0)
    u2 = ((x - centre) / reach) ** 2
    inside = u2 < 1
    influence = np.where(inside, (x - centre) ** 2 * (1 - u2) ** 4, 0).sum(axis=-1)
    slope = np.where(inside, (1 - u2) * (1 - 5 * u2), 0).sum(axis=-1)
    slope = np.maximum(slope, _LEAST_SLOPE * n)
    error = np.sqrt(influence * n / (n - 1)) / slope
    agree = usable[..., 0] & (inside.mean(axis=-1) >= _AGREE)
    return centre[..., 0], np.where(agree, error, np.inf)
