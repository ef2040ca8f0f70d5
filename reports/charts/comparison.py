"""What changed between two runs: one ratio per case and metric, with the margin and a verdict.

The verdicts are the gate's own, so that a report and `harness compare` never disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Chart
from harness.shown import quantity
from reports.charts.rows import DotRow, dot_rows, height_of
from reports.charts.tidy import WHICH, Seen, frame, named, records, seen, short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from harness.gate.judgement import Row
    from harness.store import Run
    from harness.theme import Theme

__all__ = ["ComparisonChart"]


class ComparisonChart(Chart):
    """Forest plot: candidate over base for every case that both runs have."""

    question: ClassVar[str] = "What changed?"
    order: ClassVar[int] = 5
    needs: ClassVar[str] = "two runs that share a case with figures; the first is the base"
    measured: ClassVar[str] = (
        "Each row is the candidate's figure over the base's, of the same case, judged as `harness "
        "compare` judges: fresh processes are the unit, and runs that were not interleaved carry "
        "what a machine changes from one run to the next, so intervals are wide. Regression or "
        "improvement: the interval excludes 1 and the ratio lies beyond the margin. Pass: the "
        "whole interval lies inside the margin. Exact quantities are compared as they are. "
        "Different weights, scenario versions or machines are incomparable. `harness ab` "
        "interleaves both sides and knows far more from as many runs."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **WHICH,
        "base": "id of the base run",
        "metric": "primary metric",
        "point": "shape inside the case",
        "unit": "unit of value and base_value",
        "better": "which way is better",
        "value": "the candidate's figure",
        "base_value": "the base's figure",
        "ratio": "candidate over base",
        "low": "lower end of the ratio's 95 % interval",
        "high": "upper end",
        "margin": "relative change that matters",
        "verdict": "pass, regression, improvement, inconclusive, incomparable or no-figure",
        "reason": "why this verdict",
        "n": "samples of the candidate",
        "processes": "its fresh processes",
    }

    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return a row per candidate, case, primary metric and point that decides."""
        if len(runs) < 2:
            return frame([], self.columns)
        base = runs[0].record.id
        rows = [_row_of(one, base, row) for cand in runs[1:] for one, row in _judged(runs, cand)]
        return frame(rows, self.columns)

    def title(self, data: pd.DataFrame) -> str:
        """Count the verdicts; name the worst regression."""
        counts = data["verdict"].value_counts()
        worse = [r for r in records(data) if r["verdict"] == "regression"]
        said = ", ".join(f"{int(n)} {verdict}" for verdict, n in counts.items())
        if not worse:
            return f"No regression: {said}"
        worst = max(worse, key=lambda r: abs((r["ratio"] or 1) - 1))
        what = f"{worst['metric']} {short(worst['point'])}".strip()
        return f"{worst['label']} is worse: {what} is {_percent(worst)} of the base; {said}"

    def alt(self, data: pd.DataFrame) -> str:
        """Read ratios and verdicts out."""
        said = [
            f"{r['label']} {r['metric']} {r['point']}: {_percent(r)}, {r['verdict']}"
            for r in records(data)[:16]
        ]
        return f"Forest plot of candidate over base. {'; '.join(said)}."

    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw ratios by metric, the margin as a band, verdicts in words at the end of each row."""
        found = records(data)
        found.sort(key=lambda r: (r["scenario"], r["metric"], r["point"]))
        rows = [_dot(row, theme) for row in found]
        rows = [row for _, same in groupby(rows, key=lambda r: r.heading) for row in same]
        figure, (axes,) = theme.axes(height=height_of(rows) + 0.8)
        margin = max([row["margin"] for row in found if row["margin"]], default=0.03)
        band = theme.rule if theme.name == "grey" else theme.panel
        axes.axvspan(1 - margin, 1 + margin, color=band, zorder=0, lw=0)
        axes.axvline(1, color=theme.soft, lw=1)
        dot_rows(axes, rows, theme)
        ends = [e for r in rows for e in (r.value, r.low, r.high) if e is not None]
        # One interval of enormous width must not press all dots together.
        far = max([2.5 * margin, *(abs(end - 1) for end in ends)])
        far = min(far, max([4 * margin, *(2 * abs(row.value - 1) for row in rows)]))
        axes.set_xlim(1 - 1.1 * far, 1 + 1.1 * far)
        axes.xaxis.set_major_formatter(lambda v, _: _change(v))
        axes.set_xlabel("candidate over base")
        counts = sorted({int(row["processes"]) for row in found if row["processes"]})
        words = (
            " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else "?"
        )
        theme.note(figure, f"band: margin; bars: 95 % intervals; n = {words} processes a side")
        return figure


def _judged(runs: Sequence[Run], cand: Run) -> Iterator[tuple[Seen, Row]]:
    """Yield each figure that decides, judged by the gate, with the case it is of."""
    from harness.gate.evidence import evidence_of
    from harness.gate.judge import judge
    from harness.gate.rules import Rules

    cases = {one.case.id: one for one in seen(runs) if one.run is cand}
    rules = Rules.of_suite(cand.record.suite_resolved)
    judgement = judge(evidence_of(runs[0]), evidence_of(cand), rules)
    for row in judgement.rows:
        if row.primary and row.metric and row.case in cases and row.kind in ("speed", "exact"):
            yield cases[row.case], row


def _row_of(one: Seen, base: str, row: Row) -> dict[str, Any]:
    found = (f.reading for f in one.case.figures if (f.metric, f.point) == (row.metric, row.point))
    reading = next(found, None)
    return {
        **one.which,
        **row.model_dump(include={"metric", "point", "unit", "better", "ratio", "low", "high"}),
        **row.model_dump(include={"margin", "verdict", "reason"}),
        "base": base,
        "value": row.cand,
        "base_value": row.base,
        "n": reading.n if reading else None,
        "processes": reading.processes if reading else None,
    }


def _percent(row: Mapping[str, Any]) -> str:
    return "–" if row["ratio"] is None else f"{100 * row['ratio']:.1f} %"


def _change(value: float) -> str:
    return "same" if abs(value - 1) < 1e-9 else f"{100 * (value - 1):+.3g} %"


def _dot(row: Mapping[str, Any], theme: Theme) -> DotRow:
    """Return a row of the plot; one that has no ratio stands at 1, hollow of meaning, in grey."""
    values = [
        "–" if row[c] is None else quantity(row[c], row["unit"]) for c in ("base_value", "value")
    ]
    color = {"regression": theme.bad, "improvement": theme.good}.get(row["verdict"])
    what = f"{short(row['scenario'])}: {short(row['metric'])} {short(row['point'])}"
    said = f"{values[0]} → {values[1]}, {_percent(row)}, {row['verdict']}"
    return DotRow(
        heading=what.strip(),
        label=named(row),
        series=row["series"],
        value=row["ratio"] or _centre(row),
        low=row["low"],
        high=row["high"],
        shown=row["verdict"],
        spoken=f"{named(row)}: {said}. {row['reason'] or ''}",
        color=color or theme.soft,
    )


def _centre(row: Mapping[str, Any]) -> float:
    """Two figures that were not compared still have a quotient to show."""
    base, value = row["base_value"], row["value"]
    return float(value / base) if base and value else 1.0
