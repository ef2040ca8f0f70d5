"""How long until the first figure: every phase of a worker, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Chart
from harness.pictures import marked
from harness.shown import quantity
from reports.charts.tidy import WHICH, Seen, frame, named, records, seen

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from harness.store import Run
    from harness.theme import Theme

__all__ = ["StartupChart"]

_PHASES = ("import", "load", "prepare", "verify", "warm-up")
_SHADES = {"import": 1.0, "load": 0.8, "prepare": 0.65, "verify": 0.5, "warm-up": 0.35}


class StartupChart(Chart):
    """Seconds of import, load, prepare, verify and warm-up until measuring begins."""

    question: ClassVar[str] = "How long does it take to start?"
    order: ClassVar[int] = 100
    needs: ClassVar[str] = "workers that recorded their phases"
    measured: ClassVar[str] = (
        "Each bar is one phase of a fresh process, on the run's monotonic clock: importing "
        "libraries, loading weights, preparing (allocation, compilation, capture, export), "
        "verifying against the reference, warming up until the steady state. Medians over "
        "processes; the line on a bar's end goes from the fastest to the slowest process. Phases "
        "that serve several points of a case are added up. Caches are warm from the second on."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **WHICH,
        "phase": "import, load, prepare, verify or warm-up",
        "value": "seconds: median over processes",
        "low": "the fastest process, s",
        "high": "the slowest, s",
        "start": "seconds from the worker's start to the phase: sum of the medians before it",
        "n": "processes",
        "processes": "processes",
    }

    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return a row per series and phase, of the first scenario of the series."""
        rows: list[dict[str, Any]] = []
        shown: set[int] = set()
        for one in seen(runs):
            if one.which["series"] in shown:
                continue
            found = list(_phases(one))
            rows += found
            if found:
                shown.add(one.which["series"])
        return frame(rows, self.columns)

    def title(self, data: pd.DataFrame) -> str:
        """Name the quickest and the slowest to be ready, verification and warm-up left out."""
        ready = data[data["phase"].isin(["import", "load", "prepare"])]
        totals = ready.groupby("label", sort=False)["value"].sum().sort_values()
        low, high = totals.index[0], totals.index[-1]
        if len(totals) == 1:
            return f"{low} is ready after {totals.iloc[0]:.1f} s"
        return f"{low} is ready after {totals.iloc[0]:.1f} s, {high} after {totals.iloc[-1]:.1f} s"

    def alt(self, data: pd.DataFrame) -> str:
        """Read the phases out."""
        said = []
        for label, rows in data.groupby("label", sort=False):
            steps = [f"{r['phase']} {_seconds(r['value'])}" for r in records(rows)]
            said.append(f"{label}: {', '.join(steps)}")
        return f"Waterfall of start-up phases. {'; '.join(said)}."

    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw one line per series and phase, each bar beginning where the last one ended."""
        labels = list(dict.fromkeys(data["series"]))
        figure, (axes,) = theme.axes(height=0.21 * len(data) + 0.27 * len(labels) + 0.75)
        places, names = [], []
        y, last = 0.0, None
        most = float((data["start"] + data["high"]).max())
        for row in records(data):
            if row["series"] != last:
                whole = float(data.loc[data["series"] == row["series"], "value"].sum())
                axes.annotate(
                    f"{named(row)}: {whole:.1f} s until it measures", xy=(0, y),
                    xycoords=("axes fraction", "data"), xytext=(2, 0), textcoords="offset points",
                    fontsize=8, fontweight="bold", va="center",
                    color=theme.style(row["series"]).color,
                )  # fmt: skip
                y, last = y + 1, row["series"]
            style = theme.style(row["series"])
            bar = axes.barh(
                y, row["value"], left=row["start"], height=0.7, color=style.color,
                alpha=_SHADES[row["phase"]], lw=0,
            )  # fmt: skip
            marked(
                bar.patches[0],
                row["series"],
                f"{named(row)}, {row['phase']}: {_seconds(row['value'])}",
            )
            axes.plot(
                [row["start"] + row["low"], row["start"] + row["high"]], [y, y],
                color=theme.ink, lw=1.0, marker="|", ms=4,
            )  # fmt: skip
            axes.annotate(
                _seconds(row["value"]), (row["start"] + max(row["value"], row["high"]), y),
                xytext=(5, 0), textcoords="offset points", fontsize=7.5, va="center",
            )  # fmt: skip
            places.append(y)
            names.append(row["phase"])
            y += 1
        axes.set_yticks(places, names)
        axes.set_ylim(y - 0.4, -0.6)
        axes.set_xlim(0, 1.14 * most)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("seconds since the process began its first phase")
        counts = sorted({int(n) for n in data["n"]})
        words = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        theme.note(
            figure, f"lines on bars: fastest to slowest process; n = {words} processes a bar"
        )
        return figure


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 0.1 else quantity(1000 * value, "ms")


def _phases(one: Seen) -> Iterator[dict[str, Any]]:
    rounds = [r for r in one.case.rounds if r.status == "done" and r.phases]
    start = 0.0
    for phase in _PHASES:
        seconds = [
            sum(p.end_ns - p.start_ns for p in r.phases if p.name == phase) / 1e9
            for r in rounds
            if any(p.name == phase for p in r.phases)
        ]
        if not seconds:
            continue
        value = median(seconds)
        yield {
            **one.which,
            "phase": phase,
            "value": value,
            "low": min(seconds),
            "high": max(seconds),
            "start": start,
            "n": len(seconds),
            "processes": len(seconds),
        }
        start += value
