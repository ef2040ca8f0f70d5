"""What a gate says, as data: one row per figure, one verdict for all, one exit status.

Every output (terminal, JSON, JUnit, annotations) is made from this and from nothing else.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from harness.gate.comparable import Difference

__all__ = ["EXIT", "Judgement", "Kind", "Row", "Side", "Verdict"]

Verdict = Literal["pass", "improvement", "regression", "inconclusive", "incomparable", "no-figure"]
Kind = Literal["speed", "exact", "tail", "correctness", "case"]

EXIT: dict[Verdict, int] = {
    "pass": 0,
    "improvement": 0,
    "regression": 1,
    "no-figure": 3,
    "inconclusive": 4,
    "incomparable": 5,
}
"""2 is bad input, 130 an interrupt, as for every verb."""

_GRAVEST: tuple[Verdict, ...] = (
    "regression", "no-figure", "incomparable", "inconclusive", "improvement", "pass",
)  # fmt: skip


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Side(_Data):
    """One side of the comparison."""

    run: str
    """Id of its run, or the file it came from."""
    label: str
    """What it is to the user: a baseline's name, a revision, a file."""
    revision: str | None = None
    created_at: str | None = None


class Row(_Data):
    """One figure held against the baseline's."""

    case: str
    metric: str = ""
    point: str = ""
    kind: Kind
    verdict: Verdict
    primary: bool = True
    """Whether it decides; the others are for exploration."""
    statistic: str = ""
    unit: str = ""
    better: str = "lower"
    base: float | None = None
    cand: float | None = None
    ratio: float | None = None
    """Candidate / base."""
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    """Of no change; corrected for the family that the row belongs to."""
    margin: float | None = None
    pairs: int = 0
    reason: str = ""
    """Why this verdict, in one line."""

    @property
    def name(self) -> str:
        """`itl_ms` or `decode_tokens_per_s batch=4` or `itl_ms p99`."""
        tail = self.statistic if self.kind == "tail" else ""
        return " ".join(filter(None, [self.metric, tail, self.point])) or self.kind


class Judgement(_Data):
    """All that a comparison found."""

    base: Side
    cand: Side
    method: str
    """How the two were held against each other, in a sentence."""
    rows: list[Row]
    differences: list[Difference] = []
    """What is not the same on both sides and matters, allowed or not."""
    notes: list[str] = []
    """What a reader should know beside the figures."""

    @property
    def verdict(self) -> Verdict:
        """The gravest of the rows that decide; of two that are the same run, a pass."""
        seen = {row.verdict for row in self.rows if row.primary}
        return next((v for v in _GRAVEST if v in seen), "no-figure")

    def exit_status(self, *, inconclusive_passes: bool = False) -> int:
        """Return the status for CI."""
        if self.verdict == "inconclusive" and inconclusive_passes:
            return 0
        return EXIT[self.verdict]

    def count(self, verdict: Verdict) -> int:
        """How many deciding rows have a verdict."""
        return sum(row.verdict == verdict for row in self.rows if row.primary)
