"""How the time of a step grows with batch and context, beside what the bytes alone would take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Chart
from harness.shown import quantity
from reports.charts.curves import batch_axis, curve, legend, scaled
from reports.charts.points import batches, figure_of
from reports.charts.tidy import WHICH, frame, records, samples_words, seen

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from harness.store import Run
    from harness.theme import Theme

__all__ = ["CostChart"]

_AXES = {"batch": "batch, rows", "context": "positions in the cache at the middle token"}


class CostChart(Chart):
    """Milliseconds of a decode step against batch and context, with the bandwidth bound."""

    question: ClassVar[str] = "How does the cost of a step grow?"
    order: ClassVar[int] = 80
    needs: ClassVar[str] = "two batch sizes, or latency at two prompt lengths or more"
    measured: ClassVar[str] = (
        "Against batch: the time of one decode step of all rows, batch over decode tokens/s. "
        "Against context: the time between tokens, at the prompt's length and half of the tokens "
        "made. The bound is the step's bytes over the read bandwidth measured in the same "
        "processes (the figure times its MBU): a step cannot be faster without reading less."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **WHICH,
        "along": "batch or context",
        "at": "rows, or positions",
        "value": "time of a decode step, ms",
        "low": "lower end of the 95 % interval, ms",
        "high": "upper end, ms",
        "bound": "time that reading the bytes takes, ms; missing where MBU is",
        "n": "samples",
        "processes": "fresh processes",
    }

    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return a row per series and place; an axis with a single place is left out."""
        rows = [*_by_batch(runs), *_by_context(runs)]
        kept = [a for a in _AXES if len({r["at"] for r in rows if r["along"] == a}) > 1]
        return frame([row for row in rows if row["along"] in kept], self.columns)

    def title(self, data: pd.DataFrame) -> str:
        """Say how much dearer the largest step is than the smallest."""
        said = []
        for along, part in data.groupby("along", sort=False):
            label, rows = next(iter(part.groupby("label", sort=False)))
            ordered = rows.sort_values("at")
            first, last = ordered.iloc[0], ordered.iloc[-1]
            times = last["value"] / first["value"]
            said.append(
                f"{along} {first['at']} to {last['at']} makes a step {times:.1f}× as long ({label})"
            )
        return f"From {'; from '.join(said)}"

    def alt(self, data: pd.DataFrame) -> str:
        """Read the lines out."""
        said = [
            f"{r['label']} {r['along']} {r['at']}: {quantity(r['value'], 'ms')}"
            + (f", bound {quantity(r['bound'], 'ms')}" if r["bound"] else "")
            for r in records(data)[:18]
        ]
        return f"Lines of the time of a decode step. {'; '.join(said)}."

    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw a panel per axis; the bound dotted."""
        shown = [a for a in _AXES if (data["along"] == a).any()]
        across = 1 if theme.narrow else len(shown)
        figure, axes = theme.axes(
            len(shown) // across, across, height=3.0 * (len(shown) // across) + 0.2
        )
        for each, along in zip(axes, shown, strict=True):
            part = data[data["along"] == along]
            for _, group in part.groupby("series", sort=True):
                rows = sorted(records(group), key=lambda r: r["at"])
                words = [
                    f"{r['label']}, {along} {r['at']}: {quantity(r['value'], 'ms')}" for r in rows
                ]
                curve(each, rows, "at", theme, words)
                bound = [(r["at"], r["bound"]) for r in rows if r["bound"]]
                if bound:
                    color = theme.style(rows[0]["series"]).color
                    each.plot(*zip(*bound, strict=True), color=color, lw=0.9, ls=(0, (2, 2)))
            batch_axis(each, part["at"], _AXES[along])
            scaled(each, "y", part["value"], part["high"])
            each.set_ylabel("time of a decode step, ms")
        legend(axes[0], theme, dotted="bound (bytes / bandwidth)")
        theme.note(figure, f"bars: 95 % intervals; {samples_words(data)}")
        return figure


def _by_batch(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    for _, row in batches(runs):
        step = 1000 * row["batch"] / row["value"]
        yield row | {
            "along": "batch",
            "at": row["batch"],
            "value": step,
            "low": 1000 * row["batch"] / row["high"] if row["high"] else None,
            "high": 1000 * row["batch"] / row["low"] if row["low"] else None,
            "bound": step * row["mbu"] if row["mbu"] else None,
        }


def _by_context(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    for one in seen(runs):
        figure = figure_of(one, "itl_ms")
        options = one.case.scenario_options
        prompt = options.get("prompt_tokens")
        tokens = prompt.get("tokens") if isinstance(prompt, dict) else prompt
        made = options.get("new_tokens")
        made = made.get("tokens") if isinstance(made, dict) else made
        if figure is None or not isinstance(tokens, int) or not isinstance(made, int):
            continue
        use = figure.utilization
        mbu = use.reading.value if use and use.name == "MBU" else None
        reading = figure.reading
        yield {
            **one.which,
            **reading.model_dump(include={"value", "low", "high", "n", "processes"}),
            "along": "context",
            "at": tokens + made // 2,
            "bound": reading.value * mbu if mbu and reading.value else None,
        }
