"""The gate tried on noise whose truth is known: thousands of comparisons at once.

The estimate, the answers and the plan are the gate's own; only the loop over pairs is replaced by
arrays over draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.stats.estimates import answers
from harness.stats.robust import Centre, robust_centre
from harness.stats.sequential import SequentialPlan

__all__ = ["Trials", "holds", "tried"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trials:
    """How many comparisons of the same kind ended."""

    answers: NDArray[np.str_]
    """Of each draw, "same", "larger", "smaller" or "open", as `harness.stats.estimates` has it."""
    pairs: NDArray[np.int64]
    """Taken by each."""
    covered: NDArray[np.bool_]
    """Whether the 95 % interval at the end held the planted change."""

    def share(self, answer: str) -> float:
        """Return the share of draws that ended so."""
        return float(np.mean(self.answers == answer))


def tried(
    ratios: Array, change: float, plan: SequentialPlan | None = None, *, margin: float = 0.03
) -> Trials:
    """Return how a plan ends on log ratios of no change, with a change planted.

    Args:
        ratios: of pairs in the order they ran, [draws, pairs], up to the last look at least.
        change: what the candidate takes more, as a share.
        plan: of the gate.
        margin: of the gate.
    """
    plan = plan or SequentialPlan()
    planted = math.log1p(change)
    draws = ratios.shape[0]
    ended = np.full(draws, "open", dtype="<U7")
    pairs = np.full(draws, plan.looks[-1])
    covered = np.zeros(draws, dtype=bool)
    for n in plan.looks:
        look = plan.at(n)
        assert look is not None
        centre = robust_centre(planted + ratios[:, :n])
        now = answers(
            centre.value,
            centre.error,
            centre.degrees,
            limit=math.log1p(margin),
            alpha=look.alpha,
            equivalence=look.equivalence,
        )
        running = ended == "open"
        stops = running & (now != "open")
        covered = np.where(running, holds(centre, planted), covered)
        pairs[stops] = n
        ended[stops] = now[stops]
    return Trials(ended, pairs, covered)


def holds(centre: Centre, truth: float, confidence: float = 0.95) -> NDArray[np.bool_]:
    """Return whether each interval holds the truth."""
    from scipy.special import stdtrit

    half = stdtrit(centre.degrees, (1 + confidence) / 2) * centre.error
    return np.asarray(np.abs(centre.value - truth) <= half)
