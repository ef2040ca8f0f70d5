"""What more throughput costs each user: latency against throughput, and the front of the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Chart
from harness.pictures import marked
from harness.shown import quantity
from reports.charts.curves import curve, legend, scaled
from reports.charts.points import batches
from reports.charts.tidy import WHICH, frame, records, samples_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from harness.store import Run
    from harness.theme import Theme

__all__ = ["ParetoChart"]


class ParetoChart(Chart):
    """Time per step, which every user waits for, against the tokens per second of all users."""

    question: ClassVar[str] = "What does more throughput cost each user?"
    order: ClassVar[int] = 50
    needs: ClassVar[str] = "a throughput scenario with two points or more"
    measured: ClassVar[str] = (
        "Each point is a batch size. Throughput is decode tokens per second of all rows; the time "
        "per step, which each user waits for the next token, is batch over that. A point is on the "
        "front if no other has both more throughput and a shorter step."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **WHICH,
        "batch": "rows decoded together",
        "throughput": "decode tokens/s of all rows",
        "throughput_low": "lower end of the 95 % interval",
        "throughput_high": "upper end",
        "value": "time per step, ms: batch / throughput",
        "low": "lower end of the 95 % interval, ms",
        "high": "upper end, ms",
        "front": "whether no other point is better in both",
        "n": "samples",
        "processes": "fresh processes",
    }

    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return a row per case and batch."""
        rows: list[dict[str, Any]] = []
        for _, row in batches(runs):
            batch, rate, low, high = (row[name] for name in ("batch", "value", "low", "high"))
            rows.append(
                row
                | {"throughput": rate, "throughput_low": low, "throughput_high": high}
                | {
                    "value": 1000 * batch / rate,
                    "low": 1000 * batch / high if high else None,
                    "high": 1000 * batch / low if low else None,
                }
            )
        for row in rows:
            row["front"] = not any(_beats(other, row) for other in rows)
        return frame(rows if len(rows) > 1 else [], self.columns)

    def title(self, data: pd.DataFrame) -> str:
        """Say who is on the front, or what the last step of it costs."""
        front = data[data["front"]].sort_values("throughput")
        names = list(dict.fromkeys(front["label"]))
        first, last = front.iloc[0], front.iloc[-1]
        if len(front) == 1:
            return f"{names[0]} at batch {first['batch']} is best in both"
        who = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        more, longer = (last[c] / first[c] for c in ("throughput", "value"))
        return f"The front is {who}: {more:.1f}× the throughput for {longer:.1f}× the wait"

    def alt(self, data: pd.DataFrame) -> str:
        """Read the front out."""
        front = records(data[data["front"]].sort_values("throughput"))
        said = [
            f"{r['label']} batch {r['batch']}: {quantity(r['throughput'], 'tokens/s')} at "
            f"{quantity(r['value'], 'ms')} a step"
            for r in front
        ]
        return f"Points of step time against throughput; the front: {'; '.join(said)}."

    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw every point with both intervals, batches joined, the front as steps."""
        figure, (axes,) = theme.axes(height=3.4)
        front = data[data["front"]].sort_values("throughput")
        if len(front) > 1:
            axes.plot(
                front["throughput"], front["value"], color=theme.soft, lw=6, alpha=0.22,
                solid_capstyle="round", label="front", zorder=1,
            )  # fmt: skip
        for _, part in data.groupby(["series", "case"], sort=True):
            rows = sorted(records(part), key=lambda r: r["batch"])
            style = theme.style(rows[0]["series"])
            for r in rows:
                if r["throughput_low"] is not None:
                    span = axes.plot(
                        [r["throughput_low"], r["throughput_high"]], [r["value"]] * 2,
                        color=style.color, lw=1.6,
                    )  # fmt: skip
                    marked(span[0], r["series"])
                axes.annotate(
                    str(r["batch"]), (r["throughput"], r["value"]), xytext=(5, 3),
                    textcoords="offset points", fontsize=7, color=theme.soft,
                    annotation_clip=True,
                )  # fmt: skip
            words = [
                f"{r['label']}, batch {r['batch']}: {quantity(r['throughput'], 'tokens/s')}, "
                f"{quantity(r['value'], 'ms')} a step"
                for r in rows
            ]
            curve(axes, rows, "throughput", theme, words)
        scaled(axes, "x", data["throughput"], data["throughput_high"])
        scaled(axes, "y", data["value"], data["high"])
        axes.set_xlabel("decode tokens/s, all rows" + ("" if theme.narrow else " (more is better)"))
        axes.set_ylabel("time per step, ms" + ("" if theme.narrow else " (less is better)"))
        legend(axes, theme)
        theme.note(figure, f"numbers: batch; bars: 95 % intervals; {samples_words(data)}")
        return figure


def _beats(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether one point is at least as good in both, and better in one."""
    more = one["throughput"] - other["throughput"]
    sooner = other["value"] - one["value"]
    return bool(more >= 0 and sooner >= 0 and (more > 0 or sooner > 0))
