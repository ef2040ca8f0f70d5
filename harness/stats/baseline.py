"""A stored baseline: other runs, other days. Their spread from run to run is part of the error.

Processes of one run share a machine's mood, so a candidate's run differs from the baseline's by
more than its processes show. How much is learned from earlier runs of the same machine. Where they
are few, a stated assumption stands in for the runs that are missing, and the reason says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from harness.stats.centres import log_centres, median
from harness.stats.compare import EQUIVALENCE, Better, Comparison, incomparable, judge
from harness.stats.detectable import pairs_to_settle
from harness.stats.estimates import Estimate, winsorised
from harness.stats.intervals import factor

__all__ = ["ASSUMED", "RunSpread", "compare_stored"]


@dataclass(frozen=True)
class RunSpread:
    """What is assumed of the spread between runs while few were seen."""

    sd: float
    """Standard deviation from run to run, as a share."""
    runs: int
    """It counts as so many runs; each run that was really seen takes the place of one."""


ASSUMED = RunSpread(sd=0.05, runs=5)


def compare_stored(
    base_runs: Sequence[Sequence[ArrayLike]],
    cand: Sequence[ArrayLike],
    *,
    better: Better = "lower",
    margin: float = 0.03,
    alpha: float = 0.01,
    assumed: RunSpread = ASSUMED,
) -> Comparison:
    """Compare a run with earlier ones; the verdicts are those of `harness.stats.compare`.

    Two levels vary: runs, and processes within a run (Kalibera and Jones 2013). The spread between
    run centres holds both. With R runs seen it has R - 1 degrees of freedom, filled up to
    `assumed.runs - 1` by the assumption.

    Args:
        base_runs: per earlier run of this machine, per process its samples; the newest last.
        cand: per process of the new run, its samples.
        better: which way is better.
        margin: a change up to this share is nobody's concern.
        alpha: level of the two-sided test for a change.
        assumed: stands in for the runs that are missing.
    """
    everything = [process for run in base_runs for process in run]
    centres = log_centres(everything, cand, paired=False)
    if isinstance(centres, str):
        return incomparable(centres)
    runs = [np.log([median(np.ravel(x)) for x in run if np.size(x)]) for run in base_runs]
    runs = [winsorised(run) for run in runs if run.size]
    here = winsorised(centres.cand)
    deviations = [x - x.mean() for x in (*runs, here)]
    freedom = sum(x.size - 1 for x in deviations)
    if freedom == 0:
        reason = "one process a run shows no spread between processes: run with --rounds 3 or more"
        ratio = factor(float(here.mean() - np.mean([x.mean() for x in runs])))
        return Comparison("inconclusive", ratio, None, None, None, 1, reason)
    process_variance = float(sum((x**2).sum() for x in deviations) / freedom)
    means = np.array([run.mean() for run in runs])
    typical = float(np.mean([1 / run.size for run in runs]))
    stand_in = max(assumed.runs - means.size, 0)
    seen = float(((means - means.mean()) ** 2).sum())
    prior = math.log1p(assumed.sd) ** 2 + process_variance * typical
    degrees = means.size - 1 + stand_in
    variance = (seen + stand_in * prior) / degrees
    more = process_variance * max(1 / here.size - typical, 0.0)
    estimate = Estimate(
        float(here.mean() - means.mean()),
        math.sqrt(variance * (1 + 1 / means.size) + more),
        float(degrees),
        min(here.size, *(run.size for run in runs)),
    )
    found = judge(estimate, better, margin, alpha, EQUIVALENCE, note=centres.note)
    return replace(
        found,
        reason=found.reason
        + _caveat(means.size, stand_in, assumed, found, process_variance, margin),
    )


def _caveat(
    runs: int,
    stand_in: int,
    assumed: RunSpread,
    found: Comparison,
    process_variance: float,
    margin: float,
) -> str:
    said = f"; against {runs} earlier run{'s' if runs > 1 else ''}"
    if stand_in:
        said += f", too few to know their spread: {assumed.sd:.0%} from run to run is assumed"
    if found.verdict == "inconclusive":
        pairs = pairs_to_settle(math.sqrt(2 * process_variance), margin)
        said += f"; harness ab would need about {pairs} pairs"
    return said
