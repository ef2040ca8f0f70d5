"""Many figures, one gate: what chance may have made among them is no change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.gate.evidence import Evidence
from harness.gate.judgement import Row
from harness.gate.rules import Rules
from harness.stats import benjamini_hochberg, holm

__all__ = ["decided_by_test", "over_family"]

_FALSE_DISCOVERIES = 0.05


def decided_by_test(cand: Evidence, rules: Rules) -> int:
    """Return how many figures the looks of a duet share their false alarms among."""
    return sum(
        not series.exact and (series.metric.primary or series.metric.name in rules.only)
        for series in cand.series.values()
        if not rules.only or series.metric.name in rules.only
    )


def over_family(rows: list[Row], alpha: float, *, paired: bool) -> list[Row]:
    """Correct for the number of rows: a change that chance may have made among many is none.

    The looks of a duet share their false alarms already.
    """
    corrected = list(rows)
    procedures: tuple[tuple[bool, Callable[[Sequence[float]], list[float]], float, str], ...] = (
        (True, holm, alpha, "primary figures"),
        (False, benjamini_hochberg, _FALSE_DISCOVERIES, "figures explored"),
    )
    for primary, correct, level, name in procedures:
        family = [
            i for i, row in enumerate(rows) if row.primary == primary and row.p_value is not None
        ]
        if primary and paired:
            continue
        values = correct([rows[i].p_value or 0.0 for i in family])
        for i, p_value in zip(family, values, strict=True):
            update: dict[str, object] = {"p_value": float(p_value)}
            if rows[i].verdict in ("regression", "improvement") and p_value > level:
                update["verdict"] = "inconclusive"
                update["reason"] = (
                    f"chance may have made it among {len(family)} {name} (p = {p_value:.2g})"
                )
            corrected[i] = rows[i].model_copy(update=update)
    return corrected
