"""How latencies are spread: the whole distribution, not a mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Chart
from harness.pictures import marked
from harness.shown import quantity
from reports.charts.curves import legend
from reports.charts.tidy import WHICH, frame, named, records, seen, span_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.store import Run
    from harness.theme import Theme

__all__ = ["LatenciesChart"]

_METRICS = {"itl_ms": "time between tokens (ITL), ms", "ttft_ms": "time to first token (TTFT), ms"}
_TAILS = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
_OFFSETS = {"p50": 0.1, "p90": 0.2, "p99": 0.3}
_MARKS = {"p50": "o", "p90": "D", "p99": "s"}
_GRID = 200
"""Shares at which a distribution is kept: more cannot be seen."""
_LEGEND = 6
"""So many curves are named above them; more are told by the line under each ridge."""
_FAR = 40.0
"""From so many times on between the ends, equal ratios are drawn equally long."""


class LatenciesChart(Chart):
    """Cumulative shares and densities of ITL and TTFT, with p50, p90 and p99."""

    question: ClassVar[str] = "How are latencies spread?"
    order: ClassVar[int] = 20
    needs: ClassVar[str] = "a latency scenario with samples"
    measured: ClassVar[str] = (
        "Every sample of the steady state, warm-up left out, all fresh processes together. A curve "
        "gives the share of samples at or below a latency. Marks are the run's own p50, p90 and "
        "p99, with their 95 % intervals; one that needs more samples than there are is left out."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **WHICH,
        "metric": "itl_ms or ttft_ms",
        "kind": "quantile (a point of the distribution) or figure (a statistic of the run)",
        "statistic": "p50, p90 or p99 for a figure",
        "share": "share of samples at or below value, 0 to 1",
        "value": "latency, ms",
        "low": "lower end of a figure's 95 % interval, ms",
        "high": "upper end, ms",
        "n": "samples of the distribution",
        "processes": "fresh processes they come from",
    }

    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return quantiles of the samples, and the figures beside them."""
        import numpy as np

        rows: list[dict[str, Any]] = []
        shares = np.linspace(0, 1, _GRID + 1)
        for run in runs:
            cases = [s for s in seen(runs) if s.run is run and s.case.status == "done"]
            if not any(f.metric in _METRICS for s in cases for f in s.case.figures):
                continue
            samples = run.samples
            samples = samples[(samples["phase"] == "measure") & samples["metric"].isin(_METRICS)]
            for (case_id, metric), group in samples.groupby(["case", "metric"], observed=True):
                which = next((s for s in cases if s.case.id == case_id), None)
                if which is None:
                    continue
                counts = {"n": len(group), "processes": group["round"].nunique()}
                common = which.which | {"metric": metric} | counts
                values = np.quantile(group["value"].to_numpy(), shares)
                rows += [
                    common | {"kind": "quantile", "share": share, "value": value}
                    for share, value in zip(shares.tolist(), values.tolist(), strict=True)
                ]
                rows += [
                    common
                    | {"kind": "figure", "statistic": f.statistic, "share": _TAILS[f.statistic]}
                    | f.reading.model_dump(include={"value", "low", "high"})
                    for f in which.case.figures
                    if f.metric == metric and f.statistic in _TAILS and f.reading.value is not None
                ]
        return frame(rows, self.columns)

    def title(self, data: pd.DataFrame) -> str:
        """Say how far the tail is from the middle, for the best and the worst."""
        metric, figures = _first(data)
        ratios = sorted((_tail(rows), label) for label, rows in figures.items())
        (low, best), (high, worst) = ratios[0], ratios[-1]
        name = metric.removesuffix("_ms").upper()
        if best == worst:
            return f"{best}: the slowest tenth of {name} takes at least {low:.2f}× the median"
        return (
            f"The slowest tenth of {name} takes at least {low:.2f}× the median with {best}, "
            f"{high:.2f}× with {worst}"
        )

    def alt(self, data: pd.DataFrame) -> str:
        """Read p50, p90 and p99 out."""
        said = [
            f"{row['label']} {row['metric']} {row['statistic']} {quantity(row['value'], 'ms')}"
            for row in records(data[data["kind"] == "figure"])[:18]
        ]
        return f"Cumulative distributions of latencies. {', '.join(said)}."

    def table(self, data: pd.DataFrame) -> pd.DataFrame:
        """Return the figures: a distribution is to be seen, not read."""
        return data[data["kind"] == "figure"]

    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw a cumulative curve and a ridge of densities per metric."""
        metrics = [m for m in _METRICS if (data["metric"] == m).any()]
        count = data.groupby(["series", "case"]).ngroups
        many = count > _LEGEND
        ridge = max(2.1, (0.34 if many else 0.42) * count + 0.8)
        if theme.narrow or many:
            curves = 2.4 if many else ridge
            heights = [curves, ridge] * len(metrics)
            rows, columns = len(heights), 1
        else:
            heights = [ridge] * len(metrics)
            rows, columns = len(heights), 2
        figure, axes = theme.axes(rows, columns, height=sum(heights) + 0.35, height_ratios=heights)
        for place, metric in enumerate(metrics):
            part = data[data["metric"] == metric]
            span = _span(part)
            _cumulative(axes[2 * place], part, theme)
            _ridge(axes[2 * place + 1], part, theme, lined=many)
            if not many:
                legend(axes[2 * place], theme, columns=2)
            for each in axes[2 * place : 2 * place + 2]:
                if _is_far(span):
                    each.set_xscale("log")
                    each.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
                    each.minorticks_off()
                each.set_xlim(*span)
                each.set_xlabel(_METRICS[metric])
        theme.note(figure, f"marks: p50, p90, p99 with 95 % intervals; {_counts(data)}")
        return figure


def _first(data: pd.DataFrame) -> tuple[str, dict[str, list[dict[str, Any]]]]:
    metric = next(m for m in _METRICS if (data["metric"] == m).any())
    part = data[data["metric"] == metric]
    return metric, {str(label): records(rows) for label, rows in part.groupby("label", sort=False)}


def _tail(rows: list[dict[str, Any]]) -> float:
    quantiles = {row["share"]: row["value"] for row in rows if row["kind"] == "quantile"}
    middle = float(quantiles[0.5])
    return float(quantiles[0.9]) / middle if middle else 0.0


def _span(part: pd.DataFrame) -> tuple[float, float]:
    """From the fastest sample to a little beyond p99: the last per cent has no end."""
    quantiles = part[part["kind"] == "quantile"]
    low = float(quantiles["value"].min())
    high = float(quantiles.loc[quantiles["share"].between(0.985, 0.995), "value"].max())
    figures = part.loc[part["kind"] == "figure", "value"]
    high = max(high, float(figures.max()) if len(figures) else high)
    if low > 0 and _is_far((low, high)):
        return low / 1.3, high * 1.3
    pad = 0.06 * (high - low) or 0.05 * high
    return max(low - pad, 0.0), high + pad


def _is_far(span: tuple[float, float]) -> bool:
    """Whether the axis is logarithmic: else the quick ones would all lie on its left end."""
    return span[0] > 0 and span[1] > _FAR * span[0]


def _series(part: pd.DataFrame) -> list[list[dict[str, Any]]]:
    return [records(rows) for _, rows in part.groupby(["series", "case"], sort=True)]


def _cumulative(axes: Axes, part: pd.DataFrame, theme: Theme) -> None:
    for rows in _series(part):
        style = theme.style(rows[0]["series"])
        curve = [r for r in rows if r["kind"] == "quantile"]
        line = axes.plot(
            [r["value"] for r in curve], [r["share"] for r in curve],
            color=style.color, ls=style.dash, label=named(rows[0]),
        )  # fmt: skip
        marked(line[0], rows[0]["series"], named(rows[0]))
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 0.9, 1], ["0", "25 %", "50 %", "75 %", "90 %", "100 %"])
    axes.set_ylabel("share of samples")


def _ridge(axes: Axes, part: pd.DataFrame, theme: Theme, *, lined: bool) -> None:
    """Draw a density per series; `lined`: on the line of its curve, which so has a name."""
    import numpy as np

    series = _series(part)
    low, high = _span(part)
    bins = (np.geomspace if _is_far((low, high)) else np.linspace)(low, high, 61)
    for y, rows in enumerate(series):
        style = theme.style(rows[0]["series"])
        curve = np.array([r["value"] for r in rows if r["kind"] == "quantile"])
        density, edges = np.histogram(curve, bins=bins)
        heights = 0.62 * density / max(density.max(), 1)
        shape = axes.stairs(
            y - heights, edges, baseline=y, fill=True, color=style.color, alpha=0.35, lw=0
        )
        marked(shape, rows[0]["series"], named(rows[0]))
        color, dash = (style.color, style.dash) if lined else (theme.rule, "solid")
        axes.plot([low, high], [y, y], color=color, ls=dash, lw=0.8, zorder=1)
        for row in (r for r in rows if r["kind"] == "figure"):
            _figure(axes, row, y, theme)
    for statistic, mark in _MARKS.items():
        face = theme.soft if statistic == "p50" else theme.page
        axes.plot([], [], ls="none", marker=mark, ms=4.5, mfc=face, mec=theme.soft, label=statistic)
    legend(axes, theme, columns=4)
    axes.set_yticks(range(len(series)), [named(rows[0]) for rows in series])
    axes.set_ylim(len(series) - 0.55, -0.9)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _figure(axes: Axes, row: dict[str, Any], y: float, theme: Theme) -> None:
    style = theme.style(row["series"])
    place = y + _OFFSETS[row["statistic"]]
    if row["low"] is not None:
        span = axes.plot(
            [row["low"], row["high"]], [place, place],
            color=style.color, lw=1.6, alpha=0.8, solid_capstyle="butt",
        )  # fmt: skip
        marked(span[0], row["series"])
    dot = axes.plot(
        [row["value"]], [place], ls="none", marker=_MARKS[row["statistic"]], ms=4.5,
        mfc=style.color if row["statistic"] == "p50" else theme.page, mec=style.color, zorder=3,
    )  # fmt: skip
    words = f"{named(row)}: {row['statistic']} {quantity(row['value'], 'ms')}"
    marked(dot[0], row["series"], words)


def _counts(data: pd.DataFrame) -> str:
    by_metric = data.groupby("metric", sort=False)
    said = [f"n = {span_words(part['n'])} {metric}" for metric, part in by_metric]
    processes = int(data["processes"].max())
    return f"{', '.join(said)} in {processes} process{'' if processes == 1 else 'es'} a case"
