"""From samples to figures and verdicts: quantiles, intervals, steady state, comparison, the gate.

Functions over plain numbers. Nothing here knows a plugin, a clock or a file, and pandas stays out.
The unit of every interval is a fresh process, because samples within a process are not independent.
"""

from harness.stats.baseline import compare_stored
from harness.stats.changepoints import ChangePoint, change_points
from harness.stats.compare import Comparison, Verdict, compare
from harness.stats.detectable import Detectable, NoDetectable, detectable
from harness.stats.exact import compare_exact
from harness.stats.family import benjamini_hochberg, holm
from harness.stats.sequential import Look, SequentialPlan, decide
from harness.stats.tails import compare_tails

__all__ = [
    "ChangePoint",
    "Comparison",
    "Detectable",
    "Look",
    "NoDetectable",
    "SequentialPlan",
    "Verdict",
    "benjamini_hochberg",
    "change_points",
    "compare",
    "compare_exact",
    "compare_stored",
    "compare_tails",
    "decide",
    "detectable",
    "holm",
]
