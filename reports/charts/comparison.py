"""What changed between two runs: one ratio per case and metric, with the margin and a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Chart
from harness.environment.differences import differences
from harness.reading import Reading
from harness.shown import quantity
from harness.store.answer import quotient
from harness.store.record import CaseRecord, RunRecord
from harness.store.view import Line, lines
from reports.charts.rows import DotRow, dot_rows, height_of
from reports.charts.tidy import WHICH, Seen, ends, frame, named, records, samples_words, seen, short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from harness.store import Run
    from harness.theme import Theme

__all__ = ["ComparisonChart", "incomparable", "verdict"]

_MARGIN = 0.03
_SAME_MACHINE = ("cpu.", "gpus", "limits.", "memory.total")


class ComparisonChart(Chart):
    """Forest plot: candidate over base for every case that both runs have."""

    question: ClassVar[str] = "What changed?"
    order: ClassVar[int] = 5
    needs: ClassVar[str] = "two runs that share a case with figures; the first is the base"
    measured: ClassVar[str] = (
        "Each row is the candidate's figure over the base's, of the same case. The interval comes "
        "from both figures' own 95 % intervals, combined on the log scale: fresh processes are the "
        "unit, but the runs were not interleaved, so what changed on the machine between them is "
        "in the ratio too. Regression or improvement: the interval excludes 1 and the ratio lies "
        "beyond the margin of the suite. Pass: the whole interval lies inside the margin. Exact "
        "quantities are compared as they are. Different weights, scenario versions or machines are "
        "incomparable. `harness ab` interleaves both sides and knows far more from as many runs."
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
        "verdict": "pass, regression, improvement, inconclusive or incomparable",
        "reason": "why incomparable",
        "n": "samples of the candidate",
        "processes": "its fresh processes",
    }

    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return a row per candidate, case, primary metric and point."""
        if len(runs) < 2:
            return frame([], self.columns)
        base = runs[0].record
        cases = {case.id: case for case in base.cases}
        rows = [
            row
            for one in seen(runs)
            if one.run is not runs[0] and one.case.id in cases
            for row in _rows(cases[one.case.id], base, one)
        ]
        return frame(rows, self.columns)

    def title(self, data: pd.DataFrame) -> str:
        """Count the verdicts; name the worst regression."""
        counts = data["verdict"].value_counts()
        worse = [r for r in records(data) if r["verdict"] == "regression"]
        said = [f"{int(n)} {verdict}" for verdict, n in counts.items()]
        if not worse:
            return f"No regression: {', '.join(said)}"
        worst = max(worse, key=lambda r: abs(r["ratio"] - 1))
        return (
            f"{short(worst['label'])} is worse: {worst['metric']} {short(worst['point'])} ".rstrip()
            + f" is {_percent(worst)} of the base; {', '.join(said)}"
        )

    def alt(self, data: pd.DataFrame) -> str:
        """Read ratios and verdicts out."""
        said = [
            f"{r['label']} {r['metric']} {r['point']}: {_percent(r)}, {r['verdict']}"
            for r in records(data)[:16]
        ]
        return f"Forest plot of candidate over base. {'; '.join(said)}."

    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw ratios by metric, the margin as a band, verdicts in words at the end of each row."""
        found = [r for r in records(data) if r["ratio"] is not None]
        found.sort(key=lambda r: (r["scenario"], r["metric"], r["point"]))
        rows = [_row(r, theme) for r in found]
        rows = [row for _, same in groupby(rows, key=lambda r: r.heading) for row in same]
        figure, (axes,) = theme.axes(height=height_of(rows) + 0.8)
        margin = float(data["margin"].max())
        axes.axvspan(
            1 - margin,
            1 + margin,
            color=theme.panel if theme.name != "grey" else theme.rule,
            zorder=0,
            lw=0,
        )
        axes.axvline(1, color=theme.soft, lw=1)
        dot_rows(axes, rows, theme)
        far = max(
            [2.5 * margin]
            + [abs(e - 1) for r in rows for e in (r.value, r.low, r.high) if e is not None]
        )
        far = min(far, max(4 * margin, 2 * max(abs(r.value - 1) for r in rows)))
        axes.set_xlim(1 - 1.1 * far, 1 + 1.1 * far)
        axes.xaxis.set_major_formatter(
            lambda v, _: f"{100 * (v - 1):+.3g} %" if abs(v - 1) > 1e-9 else "same"
        )
        axes.set_xlabel("candidate over base")
        theme.note(
            figure, f"band: margin of ±{margin:.0%}; bars: 95 % intervals; {samples_words(data)}"
        )
        return figure


def incomparable(base: CaseRecord, base_run: RunRecord, one: Seen) -> str | None:
    """Return why two cases of one id cannot be compared; None where they can."""
    case = one.case
    if base.model_digest != case.model_digest:
        return "the weights differ"
    if base.scenario_version != case.scenario_version:
        return f"scenario version {base.scenario_version} against {case.scenario_version}"
    if base.scenario_options != case.scenario_options:
        return "the scenario's options differ"
    found = differences(base_run.environment, one.record.environment)
    matters = [d.key for d in found if d.matters and d.key.startswith(_SAME_MACHINE)]
    return f"the machine differs: {', '.join(matters[:3])}" if matters else None


def verdict(ratio: Reading, better: str, margin: float, *, exact: bool) -> str:
    """Return what a ratio of candidate over base says, by the rule of the gate."""
    if ratio.value is None:
        return "inconclusive"
    worse = ratio.value > 1 if better == "lower" else ratio.value < 1
    changed = "regression" if worse else "improvement"
    beyond = abs(ratio.value - 1) > margin
    if exact:
        return changed if beyond else "pass"
    if ratio.low is None or ratio.high is None:
        return "inconclusive"
    if beyond and not ratio.low <= 1 <= ratio.high:
        return changed
    inside = 1 - margin <= ratio.low and ratio.high <= 1 + margin
    return "pass" if inside else "inconclusive"


def _rows(base: CaseRecord, base_run: RunRecord, one: Seen) -> Iterator[dict[str, Any]]:
    why = incomparable(base, base_run, one)
    gate = one.record.suite_resolved.get("gate")
    margin = gate.get("margin", _MARGIN) if isinstance(gate, dict) else _MARGIN
    before = {(line.metric.name, line.point): line for line in lines(base, base_run)}
    for line in lines(one.case, one.record):
        old = before.get((line.metric.name, line.point))
        if not line.metric.primary or old is None:
            continue
        ratio = quotient(line.headline.reading, old.headline.reading)
        exact = _exact(line)
        yield {
            **one.which,
            **ends(line.headline.reading),
            "base": base_run.id,
            "metric": line.metric.name,
            "point": line.point,
            "unit": line.metric.unit,
            "better": line.metric.better,
            "value": line.headline.reading.value,
            "base_value": old.headline.reading.value,
            "ratio": ratio.value,
            "low": ratio.low,
            "high": ratio.high,
            "margin": margin,
            "verdict": "incomparable"
            if why
            else verdict(ratio, line.metric.better, margin, exact=exact),
            "reason": why,
        }


def _exact(line: Line) -> bool:
    return line.metric.headline == "once"


def _percent(row: Mapping[str, Any]) -> str:
    return "–" if row["ratio"] is None else f"{100 * row['ratio']:.1f} %"


def _row(row: Mapping[str, Any], theme: Theme) -> DotRow:
    values = [quantity(row[c], row["unit"]) for c in ("base_value", "value")]
    color = {"regression": theme.bad, "improvement": theme.good}.get(row["verdict"])
    return DotRow(
        heading=" ".join(
            filter(None, [f"{short(row['scenario'])}: {short(row['metric'])}", short(row["point"])])
        ),
        label=named(row),
        series=row["series"],
        value=row["ratio"],
        low=row["low"],
        high=row["high"],
        shown=row["verdict"],
        spoken=f"{named(row)}: {values[0]} → {values[1]}, {_percent(row)}, {row['verdict']}",
        color=color or theme.soft,
    )
