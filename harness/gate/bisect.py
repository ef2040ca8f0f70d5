"""Which commit made it slower: bisection in which the gate's own decision says good or bad."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Found", "Outcome", "search"]

Outcome = Literal["good", "bad", "unknown"]


@dataclass(frozen=True)
class Found:
    """Where the first bad commit lies: between the last good one and the first known bad one."""

    last_good: int
    """-1 is the commit that was given as good."""
    first_bad: int
    asked: int
    """How many commits were looked at."""

    @property
    def certain(self) -> bool:
        """Whether no commit lies between the two."""
        return self.first_bad - self.last_good == 1


def search(commits: int, ask: Callable[[int], Outcome]) -> Found:
    """Find the first bad one of `commits`, of which the last is known to be bad.

    One that cannot be judged (`unknown`) is left aside and its neighbours are asked instead, as
    `git bisect skip` does; where only such ones are left, the answer is a range.

    Args:
        commits: How many, at least one, oldest first.
        ask: Judges one by its number.
    """
    low, high, asked = -1, commits - 1, 0
    unknown: set[int] = set()
    while left := [n for n in range(low + 1, high) if n not in unknown]:
        middle = (low + high) / 2
        number = min(left, key=lambda n: abs(n - middle))
        asked += 1
        outcome = ask(number)
        if outcome == "good":
            low = number
        elif outcome == "bad":
            high = number
        else:
            unknown.add(number)
    return Found(low, high, asked)
