"""Processes to log centres: one number a process, or why a side has none.

A process that gave nothing takes its partner along. One that gave something impossible makes the
sides incomparable: whatever broke it may have broken the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Centres", "log_centres"]

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
    sides: dict[str, list[float | None]] = {}
    for name, processes in (("base", base), ("candidate", cand)):
        sides[name] = []
        for number, samples in enumerate(processes, start=1):
            x = np.asarray(samples, dtype=np.float64).ravel()
            if not np.isfinite(x).all():
                return f"{name}, process {number}: a sample is not finite"
            if x.size and x.min() <= 0:
                return f"{name}, process {number}: a sample is {x.min():g}, not above zero"
            sides[name].append(float(np.median(x)) if x.size else None)
    found_base, found_cand = sides["base"], sides["candidate"]
    longer = max(len(found_base), len(found_cand))
    if paired:
        both = [
            (a, b)
            for a, b in zip(found_base, found_cand, strict=False)
            if a is not None and b is not None
        ]
        kept_base, kept_cand = [a for a, _ in both], [b for _, b in both]
    else:
        kept_base = [a for a in found_base if a is not None]
        kept_cand = [b for b in found_cand if b is not None]
    for name, kept in (("base", kept_base), ("candidate", kept_cand)):
        if not kept:
            return f"{name}: no process gave a sample" + (" in a pair with the other side" * paired)
    left_out = longer - len(kept_base) if paired else _empty(found_base) + _empty(found_cand)
    unit = "pairs" if paired else "processes"
    note = f"; {left_out} {unit} without samples on both sides left out" if left_out else ""
    return Centres(np.log(kept_base), np.log(kept_cand), note)


def _empty(side: list[float | None]) -> int:
    return sum(x is None for x in side)
