"""What change this machine can show at which cost: smallest change against number of pairs.

Taken from A/A pairs: the same code on both sides, so that all they differ by is noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from harness.stats.centres import log_centres
from harness.stats.intervals import WIDEST
from harness.stats.robust import robust_centre
from harness.stats.sequential import Look, SequentialPlan

__all__ = ["Detectable", "NoDetectable", "detectable", "pairs_to_settle"]


_FEWEST = 6


@dataclass(frozen=True)
class Detectable:
    """What so many pairs can show."""

    pairs: int
    change: float
    """Smallest slowdown that is found at this look with the power asked for, as a share."""
    margin: float
    """Smallest margin at which no change passes at this look with that power, as a share."""


@dataclass(frozen=True)
class NoDetectable:
    """Why A/A pairs say nothing."""

    reason: str


def detectable(
    base: Sequence[ArrayLike],
    cand: Sequence[ArrayLike],
    *,
    margin: float = 0.03,
    power: float = 0.95,
    plan: SequentialPlan | None = None,
) -> list[Detectable] | NoDetectable:
    """Return for each look of a plan what it can show, given A/A pairs.

    A change is found where it is both beyond the margin and no accident: at n pairs with standard
    error e that takes `max(margin, t e) + z e`, on a log scale, z being the power's quantile.

    Args:
        base: per fresh process, its samples, in the metric's unit.
        cand: likewise, of the same code; pairs ran next to each other.
        margin: of the gate.
        power: chance of finding the change.
        plan: of the gate.
    """
    centres = log_centres(base, cand, paired=True)
    if isinstance(centres, str):
        return NoDetectable(centres)
    if centres.pairs < _FEWEST:
        return NoDetectable(
            f"{centres.pairs} pairs say too little of their spread: take six or more"
        )
    found = robust_centre(centres.cand - centres.base)
    deviation = float(found.error) * math.sqrt(centres.pairs)
    plan = plan or SequentialPlan()
    looks = [look for n in plan.looks if (look := plan.at(n)) is not None]
    return [_at(look, deviation, margin, power) for look in looks]


def _at(look: Look, deviation: float, margin: float, power: float) -> Detectable:
    from scipy.special import ndtri, stdtrit

    error = deviation / math.sqrt(look.pairs)
    certain = float(ndtri(power)) * error
    reach = float(stdtrit(look.pairs - 1, 1 - look.alpha / 2)) * error
    # No change passes where |estimate| + t e is within the margin: both sides can miss.
    within = float(ndtri((1 + power) / 2)) * error
    within += float(stdtrit(look.pairs - 1, 1 - look.equivalence)) * error
    return Detectable(
        look.pairs,
        math.expm1(min(max(math.log1p(margin), reach) + certain, WIDEST)),
        math.expm1(min(within, WIDEST)),
    )


def pairs_to_settle(deviation: float, margin: float) -> int:
    """Return about how many pairs pass no change nine times in ten.

    The estimate of no change lies within 1.645 errors nine times in ten, and its interval must then
    still fit into the margin at 5 % a side, which takes as much again.

    Args:
        deviation: standard deviation of a pair's log ratio.
        margin: of the gate.
    """
    return max(_FEWEST, math.ceil((2 * 1.645 * deviation / math.log1p(margin)) ** 2))
