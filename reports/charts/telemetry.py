"""What the machine did meanwhile: utilization, clocks, power and memory, phases and throttling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Chart
from harness.shown import quantity
from reports.charts.curves import bytes_axis, legend
from reports.charts.tidy import WHICH, Seen, frame, records, seen

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from harness.store import Run
    from harness.theme import Theme

__all__ = ["TelemetryChart"]

_STEP_S = 0.2
"""Growth of a counter is taken over at least so long."""
_POINTS = 300
"""A series is drawn by so many buckets, each with its least, middle and most."""


@dataclass(frozen=True)
class _Panel:
    """Quantities that share an axis."""

    title: str
    unit: str
    names: tuple[str, ...]
    rate: bool = False
    """Whether it counts up: what is drawn is by how much it grew per second."""


_PANELS = (
    _Panel("GPU utilization", "%", ("utilization_percent", "memory_utilization_percent")),
    _Panel("cores busy", "cores", ("busy_s", "cpu_s", "others_busy_s", "stolen_s"), rate=True),
    _Panel("clock", "MHz", ("sm_clock_mhz", "memory_clock_mhz", "clock_mhz")),
    _Panel("power", "W", ("power_instant_w", "power_usage_w", "power_average_w")),
    _Panel("energy", "W", ("energy_j",), rate=True),
    _Panel("GPU memory", "bytes", ("memory_used_bytes",)),
    _Panel("memory of the worker", "bytes", ("resident_bytes",)),
    _Panel("memory available", "bytes", ("available_bytes",)),
    _Panel("temperature", "°C", ("temperature_c",)),
)
_THROTTLES = ("thermal_throttles", "cgroup_throttled_s")
_WORDS = {
    "cpu_s": "worker",
    "busy_s": "machine",
    "others_busy_s": "others",
    "stolen_s": "stolen by the host",
}


class TelemetryChart(Chart):
    """Sensors over the time of a run, phases shaded, throttling marked."""

    question: ClassVar[str] = "What did the machine do meanwhile?"
    order: ClassVar[int] = 85
    needs: ClassVar[str] = "telemetry: a run with samplers that work on its machine"
    measured: ClassVar[str] = (
        "A process of its own reads the sensors beside the worker, on the clock of the phases. "
        "Lines are the middle of all readings in a slice of time, bands go from the least to the "
        "most; counters are shown as growth per second. Shaded: the measured phases. Red: "
        "throttling, by the kernel, the control group or the device. The first run only."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **WHICH,
        "kind": "reading, phase or throttle",
        "panel": "what shares an axis: cores busy, clock, …",
        "name": "quantity and device; for a phase its name",
        "unit": "unit of value",
        "at": "seconds since the first reading",
        "until": "end of a phase or spell, seconds",
        "value": "middle of the readings in a slice",
        "low": "least reading in it",
        "high": "most",
        "n": "readings in it",
    }

    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return slices of every series of the first run that has telemetry, and its phases."""
        for run in runs:
            table = run.telemetry
            if len(table):
                cases = [one for one in seen(runs) if one.run is run]
                return frame(list(_rows(table, cases)), self.columns)
        return frame([], self.columns)

    def title(self, data: pd.DataFrame) -> str:
        """Say whether it throttled, and how busy the machine was."""
        spells = data[data["kind"] == "throttle"]
        seconds = float((spells["until"] - spells["at"]).sum()) if len(spells) else 0.0
        busy = data[(data["panel"] == "cores busy") & data["name"].str.startswith("machine")]
        said = f"throttled for {seconds:.1f} s" if seconds else "No throttling was seen"
        if len(busy):
            said += f"; {float(busy['value'].median()):.1f} cores were busy at the median"
        return said[0].upper() + said[1:]

    def alt(self, data: pd.DataFrame) -> str:
        """Read the range of each series out."""
        said = []
        for name, part in data[data["kind"] == "reading"].groupby("name", sort=False):
            unit = str(part["unit"].iloc[0])
            low, high = (quantity(float(v), unit) for v in (part["low"].min(), part["high"].max()))
            said.append(f"{name} from {low} to {high}")
        return f"Lines of sensors over the run: {'; '.join(said[:14])}."

    def table(self, data: pd.DataFrame) -> pd.DataFrame:
        """Return a row per series: its middle, least and most over the run."""
        readings = data[data["kind"] == "reading"]
        grouped = readings.groupby(["panel", "name", "unit"], sort=False)
        return grouped.agg(
            value=("value", "median"), low=("low", "min"), high=("high", "max"), n=("n", "sum")
        ).reset_index()

    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw a panel per kind of sensor over one axis of time."""
        readings = data[data["kind"] == "reading"]
        shown = [panel for panel in _PANELS if (readings["panel"] == panel.title).any()]
        figure, axes = theme.axes(len(shown), height=1.45 * len(shown) + 0.6, sharex=True)
        for each, panel in zip(axes, shown, strict=True):
            _shade(each, records(data[data["kind"] != "reading"]), theme)
            part = readings[readings["panel"] == panel.title]
            for place, (name, rows) in enumerate(part.groupby("name", sort=False)):
                color = theme.series[place % len(theme.series)]
                dash = ("solid", (0, (5, 2)), (0, (1.5, 1.5)))[place % 3]
                each.fill_between(
                    rows["at"], rows["low"], rows["high"], color=color, alpha=0.2, lw=0
                )
                each.plot(rows["at"], rows["value"], color=color, ls=dash, lw=1.2, label=str(name))
            each.set_ylim(bottom=0 if panel.unit != "MHz" else None)
            if panel.rate:  # what a child of the worker used before it was seen counts at once
                each.set_ylim(top=1.5 * max(float(part["value"].max()), 0.1))
            if panel.unit == "bytes":
                bytes_axis(each.yaxis, float(part["high"].max()), 4)
            count = part["name"].nunique()
            columns = 2 if theme.narrow else 4
            if count > 1:
                legend(each, theme, columns=4)
            unit = "" if panel.unit in ("bytes", panel.title.split()[0]) else f", {panel.unit}"
            # The legend stands between the title and the axes, in as many rows as it needs.
            each.set_title(
                f"{panel.title}{unit}", pad=4 + 12 * -(-count // columns) if count > 1 else 4
            )
        axes[-1].set_xlabel("seconds since the first reading")
        theme.note(
            figure,
            f"shaded: measured phases; red: throttled; band: least to most; "
            f"n = {int(readings['n'].sum()):,} readings",
        )
        return figure


def _rows(table: pd.DataFrame, cases: Sequence[Seen]) -> Iterator[dict[str, Any]]:
    start = int(table["time_ns"].min())
    which = dict(cases[0].which) | {"case": "", "label": cases[0].which["run"], "backend": ""}
    for panel in _PANELS:
        part = table[table["quantity"].isin(panel.names) & table["value"].notna()]
        for (name, device), series in part.groupby(
            ["quantity", "device"], observed=True, sort=True
        ):
            if name == "busy_s" and device:
                continue  # the cores one by one add up to the machine, which is there
            for row in _slices(series, panel, start):
                words = _WORDS.get(str(name))
                said = words or f"{name} {device}".strip()
                yield which | {"kind": "reading", "panel": panel.title, "name": said} | row
    for one in cases:
        for each in one.case.rounds:
            for phase in each.phases:
                if phase.name == "measure":
                    yield one.which | {
                        "kind": "phase", "name": phase.name,
                        "at": (phase.start_ns - start) / 1e9, "until": (phase.end_ns - start) / 1e9,
                    }  # fmt: skip
    yield from (which | row for row in _spells(table, start))


def _slices(series: pd.DataFrame, panel: _Panel, start: int) -> Iterator[dict[str, Any]]:
    """Yield buckets of time with least, middle and most of what was read in them."""
    import numpy as np

    ordered = series.sort_values("time_ns")
    at = (ordered["time_ns"].to_numpy() - start) / 1e9
    values = ordered["value"].to_numpy(dtype=float)
    if panel.rate:
        # Counters of the kernel grow in steps of 10 ms: over a shorter while a step is no rate. One
        # begins anew with each worker: what falls is no rate either.
        apart = _apart(at, _STEP_S)
        at, values = at[apart], values[apart]
        gaps, grown = np.diff(at), np.diff(values)
        kept = (gaps > 0) & (grown >= 0)
        at, values = at[1:][kept], grown[kept] / gaps[kept]
    if not len(at):
        return
    span = float(at[-1] - at[0]) or 1.0
    buckets = np.minimum(((at - at[0]) / span * _POINTS).astype(int), _POINTS - 1)
    for bucket in np.unique(buckets):
        inside = buckets == bucket
        some = values[inside]
        yield {
            "unit": panel.unit,
            "at": float(at[inside].mean()),
            "value": float(np.median(some)),
            "low": float(some.min()),
            "high": float(some.max()),
            "n": int(inside.sum()),
        }


def _apart(at: NDArray[np.float64], least: float) -> list[int]:
    """Return places of readings that lie at least so far apart, the first one among them."""
    places = [0] if len(at) else []
    for place, moment in enumerate(at):
        if moment - at[places[-1]] >= least:
            places.append(place)
    return places


def _spells(table: pd.DataFrame, start: int) -> Iterator[dict[str, Any]]:
    """Yield when a throttle counter rose: between which two readings."""
    part = table[table["quantity"].isin(_THROTTLES) & table["value"].notna()]
    for (name, device), series in part.groupby(["quantity", "device"], observed=True):
        ordered = series.sort_values("time_ns")
        rose = ordered["value"].diff() > 0
        before = ordered["time_ns"].shift()
        for end, begin in zip(ordered["time_ns"][rose], before[rose], strict=True):
            yield {
                "kind": "throttle",
                "name": f"{name} {device}".strip(),
                "at": (float(begin) - start) / 1e9,
                "until": (float(end) - start) / 1e9,
            }


def _shade(axes: Axes, spells: Sequence[Mapping[str, Any]], theme: Theme) -> None:
    for spell in spells:
        bad = spell["kind"] == "throttle"
        axes.axvspan(
            spell["at"], spell["until"], color=theme.bad if bad else theme.soft,
            alpha=0.45 if bad else 0.12, lw=0, zorder=0,
        )  # fmt: skip
