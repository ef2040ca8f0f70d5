"""Which case when: every round visits all cases in a fresh random order and shares the time."""

from __future__ import annotations

import random
from collections.abc import Sequence

from harness.engine.case import Case

__all__ = ["Visit", "order", "share"]

Visit = tuple[int, str]
"""Round and case id."""

WORKER_SECONDS = 6.0
"""What a visit takes beside sampling, until one was seen: start, load, check, audit."""
_LEAST_SECONDS = 0.5


def order(cases: Sequence[Case], rounds: int, seed: int) -> list[Visit]:
    """Return all visits: round by round, each in its own seeded random order.

    Interleaving spreads a slow spell of the machine over all cases; the random order keeps one case
    from always following the same other one.
    """
    visits: list[Visit] = []
    for number in range(rounds):
        ids = [case.id for case in cases if number < case.rounds and case.unavailable is None]
        random.Random(f"{seed}/{number}").shuffle(ids)  # noqa: S311 - not for secrets
        visits += [(number, case_id) for case_id in ids]
    return visits


def share(
    left_seconds: float, points_left: int, visits_left: int, overhead: float, most: float
) -> float:
    """Return the sampling seconds per point that let the rest of a run end within its budget."""
    sampling = left_seconds - visits_left * overhead
    return min(most, max(_LEAST_SECONDS, sampling / max(points_left, 1)))
