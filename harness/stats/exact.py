"""Exact quantities: bytes, kernels, graph breaks, instructions. Compared, never tested.

Where processes of one side disagree the quantity is not exact after all; then the nearest values of
both sides decide, and an overlap is inconclusive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats.compare import Better, Comparison, Verdict, incomparable

__all__ = ["compare_exact"]

Array = NDArray[np.float64]


def compare_exact(
    base: Sequence[ArrayLike],
    cand: Sequence[ArrayLike],
    margin: float = 0.0,
    *,
    better: Better = "lower",
) -> Comparison:
    """Compare counts: beyond the margin is a regression or an improvement, else a pass.

    Args:
        base: per process, what was counted: one number, or an array of them.
        cand: likewise.
        margin: a change up to this share passes. From zero, any change is beyond it.
        better: which way is better.

    Raises:
        ValueError: where `margin` is below zero or not finite.
    """
    if not (margin >= 0 and math.isfinite(margin)):
        raise ValueError(f"margin {margin} must be 0 or above")
    sides = {"base": _counts(base), "candidate": _counts(cand)}
    for name, counts in sides.items():
        if wrong := _wrong(counts):
            return incomparable(f"{name}: {wrong}")
    before, after = sides["base"], sides["candidate"]
    verdict = _verdict(before, after, 1 + margin, better)
    seen = f"from {_shown(before)} to {_shown(after)}"
    reason = {
        "pass": "no change" if _same(before, after) else f"within the margin of {margin:.1%}",
        "inconclusive": "processes of one side disagree, so this is not exact",
    }.get(verdict, f"beyond the margin of {margin:.1%}")
    ratio, low, high = _ratios(before, after)
    return Comparison(
        verdict, ratio, low, high, None, min(len(base), len(cand)), f"{seen}: {reason}"
    )


def _counts(processes: Sequence[ArrayLike]) -> Array:
    values = [np.asarray(x, dtype=np.float64).ravel() for x in processes]
    return np.concatenate(values) if values else np.empty(0)


def _wrong(counts: Array) -> str | None:
    if not counts.size:
        return "no process gave a count"
    if not np.isfinite(counts).all():
        return "a count is not finite"
    return f"a count is {counts.min():g}, below zero" if counts.min() < 0 else None


def _verdict(before: Array, after: Array, factor: float, better: Better) -> Verdict:
    if after.min() > before.max() * factor:
        return "regression" if better == "lower" else "improvement"
    if before.min() > after.max() * factor:
        return "improvement" if better == "lower" else "regression"
    near = after.max() <= before.min() * factor and before.max() <= after.min() * factor
    return "pass" if near else "inconclusive"


def _ratios(before: Array, after: Array) -> tuple[float | None, float | None, float | None]:
    """Return the ratio of medians and the least and greatest of any two processes."""
    if before.min() == 0:
        return None, None, None
    ratio = float(np.median(after) / np.median(before))
    return ratio, float(after.min() / before.max()), float(after.max() / before.min())


def _same(before: Array, after: Array) -> bool:
    return bool(before.min() == after.max() and before.max() == after.min())


def _shown(counts: Array) -> str:
    low, high = counts.min(), counts.max()
    return f"{low:,.10g}" if low == high else f"{low:,.10g} … {high:,.10g}"
