"""Processes to log centres: one number a process, or why a side has none.

A process that gave nothing takes its partner along. One that gave something impossible makes the
sides incomparable: whatever broke it may have broken the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Centres", "log_centres", "median"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Centres:
    """Natural logarithms of the processes' medians."""

    base: Array
    cand: Array
    note: str = ""
    """What was left out, to be appended to a reason."""

    @property
    def pairs(self) -> int:
        """Pairs, or the smaller number of processes."""
        return min(self.base.size, self.cand.size)


def log_centres(
    base: Sequence[ArrayLike], cand: Sequence[ArrayLike], *, paired: bool
) -> Centres | str:
    """Return the centres of both sides, or a sentence that says why they cannot be compared."""
    sides: list[Array] = []
    for name, processes in (("base", base), ("candidate", cand)):
        medians = []
        for number, samples in enumerate(processes, start=1):
            x = np.asarray(samples, dtype=np.float64).ravel()
            if not np.isfinite(x).all():
                return f"{name}, process {number}: a sample is not finite"
            if x.size and x.min() <= 0:
                return f"{name}, process {number}: a sample is {x.min():g}, not above zero"
            medians.append(median(x) if x.size else np.nan)
        if not np.isfinite(medians).any():
            return f"{name}: no process gave a sample"
        sides.append(np.array(medians))
    return _pairs(*sides) if paired else _all(*sides)


def median(x: Array) -> float:
    """Return the median of one finite sample or more: numpy's, whose checks take ten times as long.

    It is asked for some thousand times where a store's runs are held against each other.
    """
    y, half = np.sort(x), x.size // 2
    return float(y[half] if x.size % 2 else (y[half - 1] + y[half]) / 2)


def _pairs(base: Array, cand: Array) -> Centres | str:
    both = min(base.size, cand.size)
    used = np.isfinite(base[:both]) & np.isfinite(cand[:both])
    if not used.any():
        return "no process gave a sample in a pair with one of the other side"
    left_out = max(base.size, cand.size) - int(used.sum())
    note = f"; {left_out} pair{'s' * (left_out > 1)} left out: one side has no samples"
    return Centres(np.log(base[:both][used]), np.log(cand[:both][used]), note if left_out else "")


def _all(base: Array, cand: Array) -> Centres:
    used = [side[np.isfinite(side)] for side in (base, cand)]
    left_out = base.size + cand.size - used[0].size - used[1].size
    note = f"; {left_out} process{'es' * (left_out > 1)} left out: no samples"
    return Centres(np.log(used[0]), np.log(used[1]), note if left_out else "")
