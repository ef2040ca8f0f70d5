"""The interval that is published: over fresh processes, one centre each.

Samples within a process share its address-space layout, thread placement and machine state, so
their number says little about how well another process would agree. Only processes do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.reading import Reading

__all__ = ["ONE_PROCESS", "WIDEST", "between_processes", "factor", "t_quantile"]

ONE_PROCESS = "one process shows no spread between processes: run with --rounds 3 or more"
WIDEST = 50.0
"""On a log scale; beyond it a ratio says nothing, and soon would overflow."""
_TOO_WIDE = "the processes lie too far apart for an interval in floating point"


def t_quantile(degrees: float, confidence: float = 0.95) -> float:
    """Return the two-sided quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + confidence) / 2))


def factor(log_ratio: float) -> float:
    """Return the ratio, held within e^-50 and e^50: the end of a very wide interval is finite."""
    return math.exp(min(max(log_ratio, -WIDEST), WIDEST))


def between_processes(centres: Sequence[float], confidence: float = 0.95) -> Reading:
    """Return the centre of processes with its t-interval.

    Where all centres are positive they are averaged as logarithms: times and rates vary by
    factors, and figures are compared as ratios. Otherwise (growth, say, may be zero or negative)
    they are averaged as they are. Changing the unit of positive centres changes nothing else.

    Args:
        centres: one per fresh process, in the metric's unit.
        confidence: of the interval.
    """
    x = np.asarray(centres, dtype=np.float64).ravel()
    if x.size == 0:
        return Reading.absent("no process gave a value")
    if not np.isfinite(x).all():
        return Reading.absent("a process gave a value that is not finite")
    bottom, top = float(x.min()), float(x.max())
    if x.size == 1:
        return Reading(value=bottom, processes=1, no_interval=ONE_PROCESS)
    if bottom == top:
        return Reading(value=bottom, low=bottom, high=top, processes=int(x.size))
    if bottom > 0:
        value, low, high = _log_scale(x, confidence)
    else:
        value, low, high = _plain_scale(x, confidence)
    value = min(max(value, bottom), top)  # rounding must not carry a centre out of its sample
    if not (math.isfinite(low) and math.isfinite(high)):
        return Reading(value=value, processes=int(x.size), no_interval=_TOO_WIDE)
    return Reading(value=value, low=min(low, value), high=max(high, value), processes=int(x.size))


def _log_scale(x: np.ndarray, confidence: float) -> tuple[float, float, float]:
    centre, half = _mean_and_half(np.log(x), confidence)
    with np.errstate(over="ignore", under="ignore"):
        value, low, high = np.exp([centre, centre - half, centre + half])
    return float(value), float(low), float(high)


def _plain_scale(x: np.ndarray, confidence: float) -> tuple[float, float, float]:
    scale = float(np.abs(x).max())  # squares of large values would overflow
    centre, half = _mean_and_half(x / scale, confidence)
    with np.errstate(over="ignore"):
        low, high = np.float64(scale) * np.array([centre - half, centre + half])
    return scale * centre, float(low), float(high)


def _mean_and_half(x: np.ndarray, confidence: float) -> tuple[float, float]:
    half = t_quantile(x.size - 1, confidence) * float(x.std(ddof=1)) / math.sqrt(x.size)
    return float(x.mean()), half
