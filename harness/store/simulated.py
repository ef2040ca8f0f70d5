"""A run whose sensors were simulated is no measurement: what says so, and what refuses it.

What only shows a run shows the mark; what hands figures on without one (a baseline, a comparison,
a site with its badges, another tool's format) refuses it.
"""

from __future__ import annotations

from harness.errors import InputError
from harness.store.record import RunRecord

__all__ = ["SIMULATED", "refuse_simulated", "simulated_words"]

SIMULATED = "simulated"
"""The word that stands beside every figure of such a run."""


def simulated_words(record: RunRecord) -> str | None:
    """Return the line that stands above such a run; None for one of a real machine."""
    if record.simulated is None:
        return None
    return f"Simulated, no measurement: {record.simulated}. Do not publish these figures"


def refuse_simulated(record: RunRecord, what: str, remedy: str | None = None) -> None:
    """Let only measurements pass.

    Args:
        record: Of the run.
        what: What it was to become: `a baseline`.
        remedy: What to do instead.

    Raises:
        InputError: where a sensor was simulated.
    """
    if record.simulated is not None:
        raise InputError(
            f"was taken with a simulated sensor, {record.simulated}: it cannot become {what}",
            where=f"run {record.id}",
            expected="a run of a real machine",
            remedy=remedy,
        )
