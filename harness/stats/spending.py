"""Looking often without crying wolf more often: error spent over looks (Lan and DeMets 1983).

What may be spent by a number of pairs is a function of that number alone. So a plan can be made
longer, or be cut short by a budget, and nothing is spent twice. The level of each look comes from
the joint distribution of the looks, by numerical integration (Armitage, McPherson and Rowe 1969;
Jennison and Turnbull, *Group Sequential Methods*, 2000, chapter 19).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["levels"]

Array = NDArray[np.float64]

_GRID = 801
_REACH = 8.0
"""Standard deviations: what lies further out is below 1e-15."""


@lru_cache(maxsize=64)
def levels(pairs: tuple[int, ...], spent: tuple[float, ...]) -> tuple[float, ...]:
    """Return each look's level, one-sided, such that by each look exactly so much is spent.

    The sum of normal pairs is followed from look to look: its density over the values that have not
    crossed a boundary before.

    Args:
        pairs: at each look, ascending.
        spent: by each look, in all, ascending.
    """
    from scipy.special import ndtr, ndtri

    n = pairs[0]
    boundary = -float(ndtri(spent[0])) * math.sqrt(n)
    sums = np.linspace(-_REACH * math.sqrt(n), boundary, _GRID)
    density = _normal(sums, math.sqrt(n))
    found = [spent[0]]
    for k in range(1, len(pairs)):
        step = math.sqrt(pairs[k] - pairs[k - 1])
        n = pairs[k]
        boundary = _boundary(sums, density, step, spent[k] - spent[k - 1], _REACH * math.sqrt(n))
        found.append(float(ndtr(-boundary / math.sqrt(n))))
        now = np.linspace(-_REACH * math.sqrt(n), boundary, _GRID)
        density = _integral(_normal(now[:, None] - sums, step) * density, sums)
        sums = now
    return tuple(found)


def _boundary(sums: Array, density: Array, step: float, share: float, top: float) -> float:
    """Return the sum that is crossed at the next look with probability `share`."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    def too_much(at: float) -> float:
        return float(_integral(density * ndtr((sums - at) / step), sums)) - share

    return float(brentq(too_much, 0.0, top, xtol=1e-9))


def _normal(x: Array, deviation: float) -> Array:
    density: Array = np.exp(-0.5 * (x / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))
    return density


def _integral(y: Array, x: Array) -> Array:
    from scipy.integrate import simpson

    return np.asarray(simpson(y, x=x, axis=-1), dtype=np.float64)
