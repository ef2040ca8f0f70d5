"""Which backend is fastest: every case beside the first one of its suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Chart
from harness.shown import quantity
from harness.store.answer import comparisons, times_better
from harness.store.view import Line
from reports.charts.rows import DotRow, dot_rows, height_of
from reports.charts.tidy import WHICH, ends, frame, named, records, samples_words, seen, short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from harness.store import Run
    from harness.theme import Theme

__all__ = ["FastestChart"]


_FAR = 6.0
"""From so many times on, equal ratios are drawn equally long: the axis is logarithmic."""


class FastestChart(Chart):
    """Ratios of primary metrics to a chosen baseline, with intervals; right is better."""

    question: ClassVar[str] = "Which is fastest?"
    order: ClassVar[int] = 10
    needs: ClassVar[str] = "two cases that differ only in how they execute, both with figures"
    measured: ClassVar[str] = (
        "Cases are compared where model, scenario and the scenario's options are the same. The "
        "first case of the suite is the baseline. Intervals of ratios come from the two figures' "
        "own 95 % intervals, combined on the log scale; those come from one centre per fresh "
        "process, so they say what another process would give. Right is better whatever the metric."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **WHICH,
        "metric": "primary metric of the scenario",
        "point": "shape inside the case, e.g. batch=4",
        "unit": "unit of value",
        "value": "the figure",
        "low": "lower end of its 95 % interval",
        "high": "upper end",
        "n": "samples behind it",
        "processes": "fresh processes behind it",
        "baseline": "label of the case that it is compared with",
        "times_better": "how many times better than the baseline; below 1 it is worse",
        "times_low": "lower end of that ratio's 95 % interval",
        "times_high": "upper end",
    }

    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return a row per case, primary metric and point."""
        cases = {(s.record.id, s.case.id): s for s in seen(runs)}
        groups: dict[tuple[str, ...], list[tuple[dict[str, Any], Line]]] = {}
        for record in [run.record for run in runs]:
            for compared in comparisons(record):
                for case, line in compared.ranked:
                    row = cases[record.id, case.id].which | {
                        "metric": line.metric.name,
                        "point": line.point,
                        "unit": line.metric.unit,
                        **ends(line.headline.reading),
                    }
                    options = str(sorted(case.scenario_options.items()))
                    key = (case.model, case.scenario, options, line.metric.name, line.point)
                    groups.setdefault(key, []).append((row, line))
        rows = [row for group in groups.values() if len(group) > 1 for row in _compared(group)]
        return frame(rows, self.columns)

    def title(self, data: pd.DataFrame) -> str:
        """Name the best of the first comparison, and by how much."""
        best, *others = _groups(data)[0]
        what = f"{best['metric']} {short(best['point'])}".strip()
        base = best["baseline"]
        if best["label"] == base:
            return f"Nothing beats {base} at {what}"
        if best["times_low"] is not None and best["times_low"] <= 1:
            return f"{best['label']} and {base} cannot be told apart at {what}"
        also = f", best of {len(others) + 1}" if len(others) > 1 else ""
        return f"{best['label']} is {_times(best)} better than {base} at {what}{also}"

    def alt(self, data: pd.DataFrame) -> str:
        """Read the rows out."""
        said = [
            f"{row['label']} {row['metric']} {row['point']}: {_times(row)} of {row['baseline']}"
            for row in records(data.head(12))
        ]
        return f"Dots: how many times better each case is than the baseline. {'; '.join(said)}."

    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw one row per case under a heading per metric and point."""
        rows = [_row(row) for row in records(data)]
        figure, (axes,) = theme.axes(height=height_of(rows) + 0.75)
        dot_rows(axes, rows, theme)
        axes.axvline(1.0, color=theme.soft, lw=1)
        low, high = _reach(rows)
        if high > _FAR:
            axes.set_xscale("log")
            low = 0.8 * min(1.0, *(row.value for row in rows if row.value > 0))
            ticks = [base * 10**power for power in range(-3, 7) for base in (1, 2, 5)]
            axes.set_xticks([t for t in ticks if low <= t <= high])
            axes.xaxis.set_major_formatter(lambda v, _: f"{v:,g}")
            axes.minorticks_off()
        axes.set_xlim(low, high)
        axes.set_xlabel(f"times better than {data['baseline'].iloc[0]}")
        theme.note(figure, f"bars: 95 % intervals; {samples_words(data)}")
        return figure


def _compared(group: list[tuple[dict[str, Any], Line]]) -> list[dict[str, Any]]:
    """Set every row beside the first series of its group; best first."""
    base, base_line = min(group, key=lambda entry: entry[0]["series"])
    compared = []
    for row, line in group:
        times = times_better(line.headline.reading, base_line.headline.reading, line.metric)
        own = row is base
        compared.append(
            row
            | {
                "baseline": base["label"],
                "times_better": times.value,
                "times_low": None if own else times.low,
                "times_high": None if own else times.high,
            }
        )
    return sorted(compared, key=lambda row: -(row["times_better"] or 0.0))


def _groups(data: pd.DataFrame) -> list[list[dict[str, Any]]]:
    key = itemgetter("scenario", "metric", "point", "baseline")
    return [list(group) for _, group in groupby(records(data), key=key)]


def _reach(rows: Sequence[DotRow]) -> tuple[float, float]:
    """An interval of enormous width must not press all dots against the axis."""
    most = max(row.value for row in rows)
    high = max(min(row.high or row.value, 2 * most) for row in rows)
    low = min(row.value if row.low is None else row.low for row in rows)
    return (0.0 if low < 0.6 else min(0.92, low - 0.03)), max(high * 1.04, 1.08)


def _times(row: Mapping[str, Any]) -> str:
    value = "–" if row["times_better"] is None else f"{row['times_better']:.2f}×"
    low, high = row["times_low"], row["times_high"]
    return value if low is None else f"{value} [{low:.2f}, {high:.2f}]"


def _row(row: Mapping[str, Any]) -> DotRow:
    value = quantity(row["value"], row["unit"])
    what = " ".join(filter(None, [row["metric"], short(row["point"])]))
    return DotRow(
        heading=f"{short(row['scenario'])}: {what}",
        label=named(row),
        series=row["series"],
        value=row["times_better"] or 0.0,
        low=row["times_low"],
        high=row["times_high"],
        shown=value,
        spoken=f"{named(row)}: {what} {value}, {_times(row)} of {row['baseline']}",
    )
