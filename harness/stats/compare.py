"""Did it get slower? Two sides of fresh processes to a verdict, a ratio and its interval.

The unit is the process, never a pooled sample. It is the median of its samples, on a log scale, so
that a ratio and its inverse are alike. Nothing is random here: the same samples give the same
answer. Docs and error rates: docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats.centres import Centres, log_centres
from harness.stats.estimates import Estimate, answers, paired_estimate, unpaired_estimate
from harness.stats.intervals import factor, t_quantile

__all__ = ["Better", "Comparison", "Verdict", "compare", "incomparable", "judge", "settle"]

Array = NDArray[np.float64]
Better = Literal["lower", "higher"]
Verdict = Literal["pass", "regression", "improvement", "inconclusive", "incomparable"]

EQUIVALENCE = 0.05
"""Level a side at which a change is called smaller than the margin."""
_VERDICTS: dict[tuple[Better, str], Verdict] = {
    ("lower", "larger"): "regression",
    ("lower", "smaller"): "improvement",
    ("higher", "larger"): "improvement",
    ("higher", "smaller"): "regression",
}
_TIMES = 10.0
"""From here on a ratio reads better as a factor than as percent."""


@dataclass(frozen=True)
class Comparison:
    """What a candidate is against its base."""

    verdict: Verdict
    ratio: float | None
    """Candidate to base: above 1 is a larger value, whichever way is better."""
    low: float | None
    """Lower end of the ratio's 95 % interval."""
    high: float | None
    """Upper end of the ratio's 95 % interval."""
    p_value: float | None
    """Two-sided, of no change at all; None where there is no spread to judge by."""
    pairs: int
    """Pairs used, or unpaired the smaller number of processes."""
    reason: str
    """One sentence a person understands."""


def compare(
    base: Sequence[ArrayLike],
    cand: Sequence[ArrayLike],
    *,
    better: Better = "lower",
    margin: float = 0.03,
    paired: bool = True,
    alpha: float = 0.01,
) -> Comparison:
    """Compare two sides once, with as many processes as there are.

    Regression where the interval at `alpha` excludes no change *and* the estimate lies beyond the
    margin; improvement is the mirror image. Pass where the change lies within the margin either way
    at 5 % a side (two one-sided tests, Schuirmann 1987). Else inconclusive. Looking again with more
    processes needs `harness.stats.sequential`, or false alarms add up.

    Args:
        base: per fresh process, its steady-state samples, in the metric's unit.
        cand: likewise; `base[i]` and `cand[i]` ran next to each other if `paired`.
        better: which way is better.
        margin: a change up to this share is nobody's concern: 0.03 is from 1/1.03 to 1.03.
        paired: whether pairs share the state of the machine. Otherwise all processes must be
            independent of each other; order does not matter then.
        alpha: level of the two-sided test for a change.

    Raises:
        ValueError: where `margin` or `alpha` is out of range.
    """
    return settle(base, cand, better, margin, paired=paired, alpha=alpha, equivalence=EQUIVALENCE)


def incomparable(reason: str) -> Comparison:
    """Return the answer for sides that no ratio can be taken of."""
    return Comparison("incomparable", None, None, None, None, 0, reason)


def settle(
    base: Sequence[ArrayLike],
    cand: Sequence[ArrayLike],
    better: Better,
    margin: float,
    *,
    paired: bool,
    alpha: float,
    equivalence: float,
) -> Comparison:
    """Compare at given levels; see `compare`."""
    _check(margin, alpha, equivalence)
    centres = log_centres(base, cand, paired=paired)
    if isinstance(centres, str):
        return incomparable(centres)
    if reason := _nothing_to_judge_by(centres):
        ratio = factor(float(np.median(centres.cand) - np.median(centres.base)))
        return Comparison("inconclusive", ratio, None, None, None, centres.pairs, reason)
    estimate = paired_estimate(centres) if paired else unpaired_estimate(centres)
    return judge(estimate, better, margin, alpha, equivalence, note=centres.note)


def judge(
    estimate: Estimate,
    better: Better,
    margin: float,
    alpha: float,
    equivalence: float,
    *,
    note: str = "",
) -> Comparison:
    """Return the verdict on an estimate, see `compare`."""
    answer = answers(
        estimate.value,
        estimate.error,
        estimate.degrees,
        limit=math.log1p(margin),
        alpha=alpha,
        equivalence=equivalence,
    )
    undirected: Verdict = "pass" if answer == "same" else "inconclusive"
    verdict = _VERDICTS.get((better, str(answer)), undirected)
    half = t_quantile(estimate.degrees) * estimate.error
    low, high = (factor(estimate.value + side * half) for side in (-1, 1))
    ratio = factor(estimate.value)
    return Comparison(
        verdict,
        ratio,
        low,
        high,
        estimate.p_value,
        estimate.pairs,
        _sentence(verdict, ratio, low, high, margin, alpha, estimate) + note,
    )


def _sentence(
    verdict: Verdict,
    ratio: float,
    low: float,
    high: float,
    margin: float,
    alpha: float,
    estimate: Estimate,
) -> str:
    seen = f"{_shown(ratio)} ({_shown(low)} to {_shown(high)})"
    if verdict == "pass":
        return f"{seen}: smaller than the margin of {100 * margin:g} %"
    if verdict in ("regression", "improvement"):
        sure = f"and no accident (p = {estimate.p_value:.2g})"
        return f"{seen}: beyond the margin of {100 * margin:g} %, {sure}"
    if abs(estimate.value) <= math.log1p(margin):
        return f"{seen}: too wide to say that it is smaller than the margin of {100 * margin:g} %"
    return f"{seen}: may be an accident (p = {estimate.p_value:.2g}, needed {alpha:.2g})"


def _shown(ratio: float) -> str:
    return f"{ratio - 1:+.1%}" if ratio < _TIMES else f"×{ratio:.3g}"


def _nothing_to_judge_by(centres: Centres) -> str | None:
    if centres.pairs == 1:
        return "one process a side shows no spread between processes: take six pairs or more"
    if np.ptp(centres.base) == 0 and np.ptp(centres.cand) == 0:
        return (
            "all processes of a side gave the same number: too coarse a clock, or an exact "
            "quantity that needs no test"
        )
    return None


def _check(margin: float, alpha: float, equivalence: float) -> None:
    if not (margin > 0 and math.isfinite(margin)):
        raise ValueError(f"margin {margin} must be above 0: 0.03 stands for 3 %")
    if not (0 < alpha < 1 and 0 < equivalence < 0.5):
        raise ValueError(f"levels {alpha} and {equivalence} must lie between 0 and 1 (0.5)")
