"""What a token costs in energy, beside how long one waits for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Chart
from harness.pictures import marked
from harness.shown import number, quantity
from harness.store.view import lines
from reports.charts.curves import curve, legend
from reports.charts.tidy import WHICH, Seen, frame, records, seen, span_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from harness.store import Run
    from harness.theme import Theme

__all__ = ["EnergyChart"]


class EnergyChart(Chart):
    """Joules per generated token against the time per token."""

    question: ClassVar[str] = "What does a token cost in energy?"
    order: ClassVar[int] = 90
    needs: ClassVar[str] = "a sensor of energy or power: NVML, or RAPL where it may be read"
    measured: ClassVar[str] = (
        "Joules of the measured phase over the tokens generated in it, from the energy counter of "
        "the device, or power summed up where there is none. Bars bound the error of reading the "
        "sensor, not the sensor's own. Time per token is the case's primary latency, or batch over "
        "throughput."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **WHICH,
        "point": "shape inside the case",
        "device": "what the energy is of",
        "latency": "time per token of a row, ms",
        "value": "joules per generated token",
        "low": "lower bound of reading the sensor",
        "high": "upper bound",
        "net": "less what the idle machine would have used, J per token; missing if unknown",
        "method": "counter, or power",
        "n": "tokens generated",
        "processes": "fresh processes",
    }

    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return a row per case, point and device with energy."""
        return frame([row for one in seen(runs) for row in _rows(one)], self.columns)

    def title(self, data: pd.DataFrame) -> str:
        """Name who needs least, and what the most needs of that."""
        ordered = data.sort_values("value")
        best, worst = ordered.iloc[0], ordered.iloc[-1]
        said = (
            f"{best['label']} {best['point']}".strip()
            + f" needs least: {number(best['value'])} J per token"
        )
        if len(ordered) == 1:
            return said
        times = worst["value"] / best["value"]
        return f"{said}; {worst['label']} {worst['point']}".strip() + f" needs {times:.1f}× that"

    def alt(self, data: pd.DataFrame) -> str:
        """Read the points out."""
        said = [
            f"{r['label']} {r['point']}: {number(r['value'])} J at {quantity(r['latency'], 'ms')}"
            for r in records(data)[:16]
        ]
        return f"Points of energy per token against time per token. {'; '.join(said)}."

    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw points with their bounds; net energy as a small mark below."""
        figure, (axes,) = theme.axes(height=3.4)
        for _, part in data.groupby(["series", "case", "device"], sort=True):
            rows = sorted(records(part), key=lambda r: r["latency"])
            words = [
                f"{r['label']} {r['point']} ({r['device']}): {number(r['value'])} J per token, "
                f"{quantity(r['latency'], 'ms')}"
                for r in rows
            ]
            curve(axes, rows, "latency", theme, words, joined=len(rows) > 1)
            for r in rows:
                if r["net"] is not None:
                    color = theme.style(r["series"]).color
                    net = axes.plot(
                        [r["latency"]], [r["net"]], ls="none", marker="_", ms=9, color=color
                    )
                    marked(net[0], r["series"], f"{r['label']}: net {number(r['net'])} J per token")
                axes.annotate(
                    r["point"] or r["scenario"], (r["latency"], r["value"]), xytext=(6, 3),
                    textcoords="offset points", fontsize=7, color=theme.soft,
                )  # fmt: skip
        axes.set_xlim(0, 1.12 * max(data["latency"]))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("time per token, ms")
        axes.set_ylabel("energy per token, J")
        legend(axes, theme)
        tokens = span_words(data["n"])
        theme.note(
            figure,
            f"bars: bounds of reading the sensor; dash: net of idle; n = {tokens} tokens a point",
        )
        return figure


def _rows(one: Seen) -> Iterator[dict[str, Any]]:
    found = {line.point: line for line in lines(one.case, one.record) if line.metric.primary}
    for used in one.case.energy:
        line = found.get(used.point)
        per_token = used.joules_per_token
        if used.phase != "measure" or line is None or per_token.value is None:
            continue
        latency = _milliseconds(line.metric.unit, line.headline.reading.value, used.point)
        if latency is None:
            continue
        yield {
            **one.which,
            **per_token.model_dump(include={"value", "low", "high"}),
            "point": used.point,
            "device": used.device,
            "latency": latency,
            "net": used.net_joules_per_token.value,
            "method": used.method,
            "n": used.tokens,
            "processes": used.rounds,
        }


def _milliseconds(unit: str, value: float | None, point: str) -> float | None:
    if not value:
        return None
    if unit == "ms":
        return value
    batch = int(point.removeprefix("batch=")) if point.startswith("batch=") else 1
    return 1000 * batch / value if unit == "tokens/s" else None
