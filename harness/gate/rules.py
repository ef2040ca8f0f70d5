"""What counts as a change, and what may differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from harness.gate.evidence import Series
from harness.spec import GateSpec

__all__ = ["Rules"]


@dataclass(frozen=True)
class Rules:
    """What counts as a change, and what may differ."""

    margin: float = 0.03
    """Relative change that matters."""
    exact_margin: float = 0.01
    """The same for bytes and counts, which need no test."""
    margins: dict[str, float] = field(default_factory=dict)
    """Margins of their own, by metric."""
    alpha: float = 0.01
    """False alarms over the whole family of primary metrics."""
    allow: tuple[str, ...] = ()
    """Keys of differences that are taken on record."""
    only: tuple[str, ...] = ()
    """Metrics to look at; these then decide, primary or not. All where empty."""
    tails: bool = True
    """Whether tails are explored beside what decides."""
    drop_straddling: bool = False
    """Leave pairs of blocks out that straddle a switch of the machine's state."""

    @classmethod
    def of_suite(cls, suite: Mapping[str, Any]) -> Self:
        """Return the rules of a resolved suite's `[gate]`, as a stored run holds it.

        Raises:
            pydantic.ValidationError: where that is no gate.
        """
        spec = GateSpec.model_validate(suite.get("gate") or {})
        return cls(margin=spec.margin, margins=dict(spec.margins))

    def margin_of(self, series: Series) -> float:
        """Return the margin of a metric."""
        general = self.exact_margin if series.exact else self.margin
        return self.margins.get(series.metric.name, general)
