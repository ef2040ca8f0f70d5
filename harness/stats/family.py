"""Many cases, many metrics: error controlled over the family.

Holm (1979) for the gate, where one false alarm is one too many; Benjamini and Hochberg (1995) for
the table one explores, where a share of false ones among those found is bearable.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["benjamini_hochberg", "holm"]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that a level holds for the family, in the order given.

    Raises:
        ValueError: where a value is not between 0 and 1.
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(x) for x in adjusted]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that a level is the expected share of false finds.

    Raises:
        ValueError: where a value is not between 0 and 1.
    """
    from scipy.stats import false_discovery_control

    p = _checked(p_values)
    return [float(x) for x in false_discovery_control(p)] if p.size else []


def _checked(p_values: Sequence[float]) -> NDArray[np.float64]:
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values must lie between 0 and 1, got {list(p_values)}")
    return p
