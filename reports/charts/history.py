"""How a figure went from run to run, and at which revision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Chart
from harness.shown import quantity
from harness.store.view import lines
from reports.charts.curves import curve, legend
from reports.charts.tidy import WHICH, ends, frame, records, samples_words, seen

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from harness.store import Run
    from harness.theme import Theme

__all__ = ["HistoryChart"]

_LEAST = 0.03
"""A panel reaches at least so far either way, as a share: less would be drawn larger than it is."""


class HistoryChart(Chart):
    """Primary metrics over runs, oldest first, with intervals and revisions."""

    question: ClassVar[str] = "How did it go over time?"
    order: ClassVar[int] = 110
    needs: ClassVar[str] = "three runs or more that share a case with figures"
    measured: ClassVar[str] = (
        "The headline of each primary metric in every run that has the case, oldest first, one "
        "step per run whatever the time between. Bars are the 95 % intervals of the runs; they do "
        "not hold what changes on a machine from one day to the next. Upright lines: a new level "
        "begins (PELT, confirmed by permutations; six runs at least). The line across is the first "
        "run's figure."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **WHICH,
        "at": "place of the run, 0 is the oldest",
        "created_at": "when the run began, UTC",
        "revision": "git revision of the project, if known",
        "metric": "primary metric",
        "point": "shape inside the case",
        "unit": "unit of value",
        "value": "the figure",
        "low": "lower end of the 95 % interval",
        "high": "upper end",
        "changed": "whether a new level begins with this run",
        "n": "samples",
        "processes": "fresh processes",
    }

    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return a row per run, case, primary metric and point, for cases in three runs or more."""
        ordered = sorted(runs, key=lambda run: run.record.created_at)
        series: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        for at, run in enumerate(ordered):
            for one in seen([run]):
                for line in lines(one.case, one.record):
                    if not line.metric.primary or line.headline.reading.value is None:
                        continue
                    row = {
                        **one.which,
                        **ends(line.headline.reading),
                        "at": at,
                        "created_at": run.record.created_at,
                        "revision": _revision(run.record.environment),
                        "metric": line.metric.name,
                        "point": line.point,
                        "unit": line.metric.unit,
                    }
                    series.setdefault((one.case.id, line.metric.name, line.point), []).append(row)
        kept = [_with_changes(rows) for rows in series.values() if len(rows) > 2]
        return frame([row for rows in kept for row in rows], self.columns)

    def title(self, data: pd.DataFrame) -> str:
        """Say how far the newest is from the oldest."""
        first, last = _ends_of(data)
        runs = data["at"].nunique()
        change = 100 * (last["value"] / first["value"] - 1)
        what = " ".join(filter(None, [first["label"], first["metric"], first["point"]]))
        return f"{what} went {_moved(first, last)} ({change:+.1f} %) over {runs} runs"

    def alt(self, data: pd.DataFrame) -> str:
        """Read the oldest and the newest out."""
        said = []
        for key, part in data.groupby(["label", "metric", "point"], sort=False):
            first, last = _ends_of(part)
            said.append(f"{' '.join(map(str, key))} {_moved(first, last)}")
        return f"Lines of figures over runs. {'; '.join(said[:16])}."

    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw a panel per metric and point over a common axis of runs."""
        panels = list(data.groupby(["scenario", "metric", "point"], sort=False))[:8]
        figure, axes = theme.axes(len(panels), height=1.75 * len(panels) + 0.9, sharex=True)
        for each, (key, part) in zip(axes, panels, strict=True):
            unit = str(part["unit"].iloc[0])
            for _, group in part.groupby(["series", "case"], sort=True):
                rows = sorted(records(group), key=lambda r: r["at"])
                words = [
                    f"{r['created_at'][:16]} {r['revision'] or ''}: {quantity(r['value'], unit)}"
                    for r in rows
                ]
                curve(each, rows, "at", theme, words)
                for r in rows:
                    if r["changed"]:
                        each.axvline(r["at"], color=theme.bad, lw=1.2, ls=(0, (3, 2)))
                each.axhline(
                    rows[0]["value"],
                    color=theme.style(rows[0]["series"]).color,
                    lw=0.8,
                    ls=(0, (2, 2)),
                    alpha=0.7,
                )
            each.set_ylim(*_reach(part))
            # The first one has the legend between its title and itself.
            deep = 1 + part["label"].nunique()
            deep = deep if theme.narrow else -(-deep // 3)
            said = list(map(str, key))[1 if theme.narrow else 0 :]
            each.set_title(" ".join(filter(None, said)), pad=5 + 13 * deep * (each is axes[0]))
            each.yaxis.set_major_formatter(partial(_tick, unit))
        ticks = data.drop_duplicates("at").sort_values("at")
        step = max(-(-len(ticks) // (4 if theme.narrow else 8)), 1)
        shown = records(ticks)[::step]
        axes[-1].set_xticks([r["at"] for r in shown], [_when(r) for r in shown], fontsize=7)
        axes[-1].set_xlabel("run, oldest first")
        legend(axes[0], theme, dotted="first run")
        theme.note(figure, f"bars: 95 % intervals; {samples_words(data)}")
        return figure


def _reach(part: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of a panel: no interval of enormous width, no noise as large as the panel."""
    values, middle = part["value"], abs(float(part["value"].median()))
    low = max(min(values.min(), part["low"].min()), values.min() - middle)
    high = min(max(values.max(), part["high"].max()), values.max() + middle)
    pad = max(0.08 * (high - low), _LEAST * middle - (high - low) / 2)
    return max(low - pad, 0.0) if low >= 0 else low - pad, high + pad


def _with_changes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from harness.stats import change_points

    begins = {point.index for point in change_points([row["value"] for row in rows])}
    return [row | {"changed": place in begins} for place, row in enumerate(rows)]


def _ends_of(data: pd.DataFrame) -> tuple[dict[str, Any], dict[str, Any]]:
    rows = records(data)
    key = [rows[0][c] for c in ("case", "metric", "point")]
    same = [r for r in rows if [r[c] for c in ("case", "metric", "point")] == key]
    return same[0], same[-1]


def _moved(first: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    before, after = (quantity(row["value"], row["unit"]) for row in (first, last))
    return f"from {before} to {after}"


def _tick(unit: str, value: float, _: object) -> str:
    return quantity(value, unit)


def _when(row: Mapping[str, Any]) -> str:
    day = datetime.fromisoformat(row["created_at"]).strftime("%d %b\n%H:%M")
    return f"{day}\n{row['revision']}" if row["revision"] else day


def _revision(environment: Mapping[str, Any]) -> str | None:
    git = environment.get("git")
    found = git.get("revision") if isinstance(git, dict) else None
    return found[:8] if isinstance(found, str) else None
