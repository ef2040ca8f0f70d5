"""Take more pairs until the answer is clear, with error rates that hold over all looks together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from harness.stats.compare import EQUIVALENCE, Better, Comparison, settle
from harness.stats.spending import levels

__all__ = ["Look", "SequentialPlan", "decide"]

_CHANGE_PACE = 15.0
"""Pairs by which 63 % of the false alarms are spent: early, as a large change shows early."""
_RESERVE = 0.7
"""Share of the false alarms promised that is spent at the rates of normal, independent pairs. The
rest is for the choice between two centres, and for pairs that are neither: docs/statistics.md."""
_EQUIVALENCE_POWER = 3.0
"""Of the share of pairs taken: false passes are spent late, as a small margin shows late."""


_USUAL_LOOKS = (6, 10, 15, 20, 30, 45, 60)


@dataclass(frozen=True)
class Look:
    """One look at the pairs so far."""

    number: int
    """From 1."""
    pairs: int
    """Taken by then."""
    alpha: float
    """Level of this look's test for a change, two-sided."""
    equivalence: float = EQUIVALENCE
    """Level of this look's test that a change is smaller than the margin, for each side."""


@dataclass(frozen=True)
class SequentialPlan:
    """When to look, and what each look may spend.

    Over all looks together the chance of a false regression is at most `false_alarm`, of a false
    improvement likewise, and of passing a change of exactly the margin at most `false_pass`.
    """

    looks: tuple[int, ...] = (6, 10, 15, 20, 30)
    """Numbers of pairs, ascending."""
    false_alarm: float = 0.01
    false_pass: float = EQUIVALENCE

    def __post_init__(self) -> None:
        if not self.looks or self.looks[0] < 2 or list(self.looks) != sorted(set(self.looks)):
            raise ValueError(f"looks {self.looks} must be numbers of pairs from 2, ascending")

    @classmethod
    def up_to(cls, pairs: int) -> SequentialPlan:
        """Return a plan for a budget of so many pairs, which is also its last look.

        A machine that switches between states needs about twice the pairs of a steady one.
        """
        return cls(looks=(*(n for n in _USUAL_LOOKS if n < pairs), pairs))

    def at(self, pairs: int) -> Look | None:
        """Return the look that is due at so many pairs; None between looks."""
        if pairs not in self.looks:
            return None
        number = self.looks.index(pairs) + 1
        return self._look(self.looks[:number])

    def closing(self, pairs: int) -> Look | None:
        """Return the last look where time ran out at so many pairs; None before two pairs."""
        return None if pairs < 2 else self._look((*(n for n in self.looks if n < pairs), pairs))

    @property
    def last_look(self) -> Look:
        """The look at which the budget ends."""
        return self._look(self.looks)

    def _look(self, looks: tuple[int, ...]) -> Look:
        last = max(looks[-1], self.looks[-1])
        early = [math.expm1(-n / _CHANGE_PACE) / math.expm1(-last / _CHANGE_PACE) for n in looks]
        late = [(n / last) ** _EQUIVALENCE_POWER for n in looks]
        change = tuple(_RESERVE * self.false_alarm * x for x in early)
        same = tuple(self.false_pass * x for x in late)
        return Look(len(looks), looks[-1], 2 * levels(looks, change)[-1], levels(looks, same)[-1])


def decide(
    base: Sequence[ArrayLike],
    cand: Sequence[ArrayLike],
    look: Look,
    *,
    better: Better = "lower",
    margin: float = 0.03,
) -> Comparison:
    """Return the verdict at a look; inconclusive means: take more pairs, if the budget has some.

    Args:
        base: per fresh process, its steady-state samples, in the metric's unit.
        cand: likewise; `base[i]` and `cand[i]` ran next to each other.
        look: which look of the plan this is.
        better: which way is better.
        margin: a change up to this share is nobody's concern.
    """
    return settle(
        base, cand, better, margin, paired=True, alpha=look.alpha, equivalence=look.equivalence
    )
