"""How throughput grows with the batch, where it stops paying, and how far the ceiling is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Chart
from harness.shown import quantity, share
from reports.charts.curves import batch_axis, curve, legend, scaled
from reports.charts.points import batches, figure_of
from reports.charts.tidy import WHICH, frame, records, samples_words, seen

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from harness.store import Run
    from harness.theme import Theme

__all__ = ["BatchChart"]


class BatchChart(Chart):
    """Decode tokens per second against batch, with knee and the bandwidth ceiling."""

    question: ClassVar[str] = "How does throughput grow with the batch?"
    order: ClassVar[int] = 40
    needs: ClassVar[str] = "a throughput scenario with two batch sizes or more"
    measured: ClassVar[str] = (
        "Decode tokens of all rows over the time of a loop that nobody observes, per batch size. "
        "The ceiling is what the same work would reach at the read bandwidth measured in the same "
        "processes: the figure divided by its MBU. The knee is the last batch up to which every "
        "further row still brings at least half of what the first rows brought."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **WHICH,
        "batch": "rows decoded together",
        "value": "decode tokens/s of all rows",
        "low": "lower end of the 95 % interval",
        "high": "upper end",
        "n": "samples",
        "processes": "fresh processes",
        "mbu": "share of the measured read bandwidth, 0 to 1",
        "ceiling": "tokens/s at the full read bandwidth; missing where MBU is",
        "knee": "knee batch of the case; missing where the sweep ends before it",
    }

    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return a row per case and batch, where there are two batches or more."""
        knees = {
            (s.record.id, s.case.id): figure.reading.value
            for s in seen(runs)
            if (figure := figure_of(s, "knee_batch")) is not None
        }
        rows = [
            row
            | {
                "ceiling": row["value"] / row["mbu"] if row["mbu"] else None,
                "knee": knees.get((row["run_id"], row["case"])),
            }
            for _, row in batches(runs)
        ]
        swept = {
            key
            for key in {(r["run_id"], r["case"]) for r in rows}
            if len([r for r in rows if (r["run_id"], r["case"]) == key]) > 1
        }
        return frame([r for r in rows if (r["run_id"], r["case"]) in swept], self.columns)

    def title(self, data: pd.DataFrame) -> str:
        """Name the highest rate and what it is a multiple of."""
        rows = records(data)
        best = max(rows, key=lambda row: row["value"])
        own = [r for r in rows if (r["run_id"], r["case"]) == (best["run_id"], best["case"])]
        first = min(own, key=lambda row: row["batch"])
        times = best["value"] / first["value"]
        return (
            f"{best['label']} decodes most: {quantity(best['value'], 'tokens/s')} at batch "
            f"{best['batch']}, {times:.1f}× its batch {first['batch']}"
        )

    def alt(self, data: pd.DataFrame) -> str:
        """Read the curves out."""
        said = []
        for label, rows in data.groupby("label", sort=False):
            steps = [f"{quantity(r['value'], 'tokens/s')} at {r['batch']}" for r in records(rows)]
            said.append(f"{label}: {', '.join(steps)}")
        return f"Lines of decode throughput against batch. {'; '.join(said)}."

    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw a line per case, its ceiling dashed above it, knees as rings."""
        figure, (axes,) = theme.axes(height=3.3)
        for _, part in data.groupby(["series", "case"], sort=True):
            rows = sorted(records(part), key=lambda r: r["batch"])
            words = [
                f"{r['label']}, batch {r['batch']}: {quantity(r['value'], 'tokens/s')}"
                + (f", MBU {share(r['mbu'])}" if r["mbu"] else "")
                for r in rows
            ]
            curve(axes, rows, "batch", theme, words)
            style = theme.style(rows[0]["series"])
            top = [(r["batch"], r["ceiling"]) for r in rows if r["ceiling"]]
            if top:
                axes.plot(
                    *zip(*top, strict=True), color=style.color, lw=0.9, ls=(0, (2, 2)), alpha=0.8
                )
            for r in rows:
                if r["knee"] == r["batch"]:
                    axes.plot([r["batch"]], [r["value"]], "o", ms=13, mfc="none", mec=style.color)
        batch_axis(axes, data["batch"])
        scaled(axes, "y", data["value"], [*data["high"], *data["ceiling"]])
        axes.set_ylabel("decode throughput, tokens/s")
        legend(
            axes,
            theme,
            dotted="ceiling (bandwidth)",
            ring="knee" if data["knee"].notna().any() else "",
        )
        theme.note(figure, f"bars: 95 % intervals; {samples_words(data)}")
        return figure
