"""A robust centre with its own error: what the gate holds a change against.

Between two states of a machine lie some 24 %, and a process now and then takes twice its time. A
mean of log ratios is dragged by both; a median wastes a third of the pairs. So values far from the
rest are weighted down, to nothing where they are beyond doubt (a redescending M-estimate), and the
error is taken from what counts. On normal values it costs little, see docs/statistics.md.

All functions work along the last axis, so that the simulations which prove the gate run the very
code that decides in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Centre", "robust_centre"]

Array = NDArray[np.float64]

_FEW = 5
"""Fewer values have no robust spread: their mean, and Student's own error."""
_FULL, _NONE = 2.5, 4.5
"""Full weight within so many deviations of the centre, none beyond, a cosine between."""
_STEPS = 6
_MAD = 1.4826


@dataclass(frozen=True)
class Centre:
    """A centre and its standard error, each [...] without the axis that was summarised."""

    value: Array
    error: Array
    degrees: float
    """Of freedom, for Student's t of `(value - truth) / error`."""


def robust_centre(x: Array) -> Centre:
    """Return the robust centre of values along the last axis: [..., n] to [...].

    Values must be finite, and at least two.
    """
    n = x.shape[-1]
    if n < _FEW:
        error = x.std(axis=-1, ddof=1) / np.sqrt(n)
        return Centre(x.mean(axis=-1), error, n - 1.0)
    centre = np.median(x, axis=-1, keepdims=True)
    spread = _first_spread(x - centre)
    for _ in range(_STEPS):
        weight = _weight((x - centre) / spread)
        total = weight.sum(axis=-1, keepdims=True)
        centre = (weight * x).sum(axis=-1, keepdims=True) / total
        counted = weight * (x - centre)
        spread = np.sqrt((counted * (x - centre)).sum(axis=-1, keepdims=True) / total)
        spread = np.where(spread > 0, spread * np.sqrt(n / (n - 1.0)), np.inf)
    error = np.sqrt((counted**2).sum(axis=-1)) / total[..., 0] * np.sqrt(n / (n - 1.0))
    return Centre(centre[..., 0], error, n - 1.0)


def _first_spread(deviations: Array) -> Array:
    """Return the spread to begin with, [..., 1]: robust, or standard where that is zero."""
    n = deviations.shape[-1]
    robust = _MAD * n / (n - 0.8) * np.median(np.abs(deviations), axis=-1, keepdims=True)
    plain = deviations.std(axis=-1, ddof=1, keepdims=True)
    found = np.where(robust > 0, robust, plain)
    return np.where(found > 0, found, np.inf)


def _weight(standardised: Array) -> Array:
    beyond = np.clip((np.abs(standardised) - _FULL) / (_NONE - _FULL), 0.0, 1.0)
    return 0.5 * (1.0 + np.cos(np.pi * beyond))
