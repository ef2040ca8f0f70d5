"""Where memory goes, phase by phase, and how much of it there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Chart
from harness.pictures import marked
from harness.shown import quantity
from reports.charts.curves import bytes_axis, legend
from reports.charts.tidy import WHICH, Seen, frame, named, records, seen

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from harness.store import Run
    from harness.theme import Theme

__all__ = ["MemoryChart"]

_PHASES = {
    "import": "import_bytes",
    "load": "load_bytes",
    "prepare": "prepare_bytes",
    "prefill": "prefill_peak_bytes",
    "decode": "decode_peak_bytes",
}
_PARTS = ("libraries", "weights", "KV cache and set-up", "activations and other")
_HATCHES = ("", "//", "", "\\\\")
_COLORS = (5, 6, 4, 3)
"""From the far end of the palette: parts are no series."""
_AFTER = {"libraries": "import", "weights": "load", "KV cache and set-up": "prepare"}


class MemoryChart(Chart):
    """Bytes in use at the end of each phase, by what they are for."""

    question: ClassVar[str] = "Where does memory go?"
    order: ClassVar[int] = 70
    needs: ClassVar[str] = "a memory scenario"
    measured: ClassVar[str] = (
        "Memory of the worker, or of the device's allocator where the model is there: in use at "
        "the end of import, load and prepare, and the peak during prefill and decode. Each part is "
        "what its phase added; what a peak holds beyond those is activations and whatever else the "
        "backend keeps. Observed once: sizes hardly vary, and where several processes were "
        "observed, the bar at the end is from the smallest to the largest."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **WHICH,
        "phase": "import, load, prepare, prefill or decode",
        "part": "libraries, weights, KV cache and set-up, activations and other",
        "value": "bytes of the part in this phase",
        "total": "bytes in use at the end of the phase, or at its peak",
        "low": "smallest total of any process, bytes",
        "high": "largest, bytes",
        "limit": "bytes that the machine, or the control group, lets it use; missing if unknown",
        "n": "observations",
        "processes": "fresh processes",
    }

    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return a row per case, phase and part."""
        return frame([row for one in seen(runs) for row in _phases(one)], self.columns)

    def title(self, data: pd.DataFrame) -> str:
        """Name the smallest and the largest peak."""
        peaks = data.groupby("label", sort=False)["total"].max().sort_values()
        low, high = peaks.index[0], peaks.index[-1]
        least, most = (quantity(float(peaks[label]), "bytes") for label in (low, high))
        if len(peaks) == 1:
            part = data[data["total"] == peaks.iloc[0]].sort_values("value").iloc[-1]
            return f"{low} peaks at {least}; most of it is {part['part']}"
        return f"{low} peaks at {least}, {high} at {most}"

    def alt(self, data: pd.DataFrame) -> str:
        """Read the totals out."""
        said = []
        for label, rows in data.groupby("label", sort=False):
            totals = rows.drop_duplicates("phase")
            steps = [f"{r['phase']} {quantity(r['total'], 'bytes')}" for r in records(totals)]
            said.append(f"{label}: {', '.join(steps)}")
        return f"Stacked bars of memory by phase. {'; '.join(said)}."

    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw a bar per phase, stacked by part."""
        rows = records(data)
        bars = [
            (key, list(same))
            for key, same in groupby(rows, key=lambda r: (r["run_id"], r["case"], r["phase"]))
        ]
        cases = len({key[:2] for key, _ in bars})
        figure, (axes,) = theme.axes(height=0.2 * len(bars) + 0.26 * cases + 0.95)
        places, names = [], []
        y, last = 0.0, None
        for key, parts in bars:
            if key[:2] != last:
                axes.annotate(
                    named(parts[0]), xy=(0, y), xycoords=("axes fraction", "data"), xytext=(2, 0),
                    textcoords="offset points", fontsize=8, fontweight="bold", va="center",
                    color=theme.style(parts[0]["series"]).color,
                )  # fmt: skip
                y, last = y + 1, key[:2]
            left = 0.0
            for part in parts:
                place = _PARTS.index(part["part"])
                bar = axes.barh(
                    y, part["value"], left=left, height=0.72, color=theme.series[_COLORS[place]],
                    hatch=_HATCHES[place], edgecolor=theme.page, lw=0.5,
                )  # fmt: skip
                size = quantity(part["value"], "bytes")
                words = f"{named(part)}, {part['phase']}: {part['part']} {size}"
                marked(bar.patches[0], part["series"], words)
                left += part["value"]
            if parts[0]["low"] is not None and parts[0]["low"] != parts[0]["high"]:
                axes.plot(
                    [parts[0]["low"], parts[0]["high"]], [y, y], color=theme.ink, lw=1.2, marker="|"
                )
            axes.annotate(
                quantity(parts[0]["total"], "bytes"), (max(left, parts[0]["high"] or left), y),
                xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5,
            )  # fmt: skip
            places.append(y)
            names.append(str(parts[0]["phase"]))
            y += 1
        most = max(r["total"] for r in rows)
        limit = next((r["limit"] for r in rows if r["limit"]), None)
        axes.set_xlim(0, 1.16 * most)
        note = "limit unknown"
        if limit is not None:
            note = f"limit: {quantity(limit, 'bytes')}"
            if limit <= 1.6 * most:
                axes.axvline(limit, color=theme.bad, lw=1.4)
                axes.set_xlim(0, 1.16 * max(limit, most))
            else:
                note += f", {limit / most:.0f}× the largest peak"
        axes.set_yticks(places, names)
        axes.set_ylim(y - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        bytes_axis(axes.xaxis, axes.get_xlim()[1], 6)
        axes.set_xlabel("memory in use")
        for place, name in enumerate(_PARTS):
            axes.barh(
                [-9],
                [0],
                color=theme.series[_COLORS[place]],
                hatch=_HATCHES[place],
                edgecolor=theme.page,
                label=name,
            )
        legend(axes, theme, columns=4)
        processes = int(max((r["processes"] or 1) for r in rows))
        theme.note(figure, f"{note}; n = {processes} process{'' if processes == 1 else 'es'} a bar")
        return figure


def _phases(one: Seen) -> Iterator[dict[str, Any]]:
    found = {f.metric: f.reading for f in one.case.figures if f.point == ""}
    after = {
        p: found[m].value for p, m in _PHASES.items() if m in found and found[m].value is not None
    }
    if "import" not in after or "decode" not in after:
        return
    limit = _limit(one)
    for phase, total in after.items():
        reading = found[_PHASES[phase]]
        spent = 0.0
        for part in _PARTS:
            value = _part(part, phase, after, total or 0.0, spent)
            if value is None:
                continue
            spent += value
            yield {
                **one.which,
                "phase": phase,
                "part": part,
                "value": value,
                "total": total,
                "low": reading.low,
                "high": reading.high,
                "limit": limit,
                "n": reading.n,
                "processes": reading.processes,
            }


def _part(
    part: str, phase: str, after: Mapping[str, float | None], total: float, spent: float
) -> float | None:
    """Return what a part holds in a phase: what its own phase added, never more than is left."""
    order = list(_PHASES)
    if part not in _AFTER:
        return max(total - spent, 0.0) if phase in ("prefill", "decode") else None
    own = _AFTER[part]
    if own not in after or order.index(own) > order.index(phase):
        return None
    before = order[order.index(own) - 1] if own != "import" else None
    added = (after[own] or 0.0) - ((after.get(before) or 0.0) if before else 0.0)
    return min(max(added, 0.0), total - spent)


def _limit(one: Seen) -> float | None:
    facts = one.record.environment
    for topic, key in (("limits", "memory_bytes"), ("limits", "memory"), ("memory", "total")):
        value = facts.get(topic, {}).get(key) if isinstance(facts.get(topic), dict) else None
        if isinstance(value, int | float):
            return float(value)
    return None
