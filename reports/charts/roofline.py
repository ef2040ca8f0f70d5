"""How close prefill and decode come to what the machine was measured to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Chart
from harness.pictures import marked
from harness.reading import Reading
from harness.shown import quantity, share
from reports.charts.curves import legend
from reports.charts.tidy import WHICH, Seen, frame, named, records, seen

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.store import Run
    from harness.theme import Theme

__all__ = ["RooflineChart"]

_RATES = {"decode_bytes_per_s": "decode", "prefill_flop_per_s": "prefill"}
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class RooflineChart(Chart):
    """Achieved FLOP/s against FLOP per byte, under the measured bandwidth and compute roofs."""

    question: ClassVar[str] = "How far from the machine's limits?"
    order: ClassVar[int] = 60
    needs: ClassVar[str] = (
        "decode_bytes_per_s or prefill_flop_per_s, and ceilings measured beside it"
    )
    measured: ClassVar[str] = (
        "Roofs are the read bandwidth and the matrix-multiply rate measured in the same processes "
        "as the figures, per precision: the median over processes. The intensity counts weights "
        "only: 2 × rows / bytes per weight for decode, times the prompt's tokens for prefill: "
        "weights are read once per step. Bytes and operations are computed from the model's "
        "configuration, never from what an implementation happens to do."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **WHICH,
        "kind": "figure or roof",
        "dtype": "precision",
        "phase": "decode or prefill",
        "point": "shape inside the case",
        "intensity": "FLOP per byte of weights",
        "value": "achieved FLOP/s; for a roof the matrix-multiply rate",
        "low": "lower end of the 95 % interval",
        "high": "upper end",
        "bandwidth": "read bandwidth measured beside it, bytes/s",
        "share": "MBU of decode, MFU of prefill, 0 to 1",
        "n": "samples; for a roof, processes",
        "processes": "fresh processes",
    }

    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return a row per figure and a roof per run and precision."""
        cases = [s for s in seen(runs) if s.case.status == "done"]
        figures = [row for one in cases for row in _figures(one)]
        return frame([*_roofs(cases), *figures] if figures else [], self.columns)

    def title(self, data: pd.DataFrame) -> str:
        """Name who comes closest to its limit in decode."""
        figures = [r for r in records(data) if r["kind"] == "figure" and r["share"]]
        said = []
        for phase, limit in (("decode", "read bandwidth"), ("prefill", "matrix-multiply rate")):
            part = [r for r in figures if r["phase"] == phase]
            if part:
                best = max(part, key=lambda row: row["share"])
                said.append(
                    f"{phase} reaches {share(best['share'])} of the {limit} ({best['label']})"
                )
        return (
            "At best, " + " and ".join(said)
            if said
            else "No ceiling was measured beside the figures"
        )

    def alt(self, data: pd.DataFrame) -> str:
        """Read roofs and shares out."""
        said = [
            f"{r['label']} {r['phase']} {r['point']}: {quantity(r['value'], 'FLOP/s')}"
            + (f", {share(r['share'])} of its limit" if r["share"] else "")
            for r in records(data[data["kind"] == "figure"])[:14]
        ]
        return f"Roofline with logarithmic axes. {'; '.join(said)}."

    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw roofs as lines, decode hollow and prefill full."""
        figure, (axes,) = theme.axes(height=3.9)
        rows = records(data)
        figures = [r for r in rows if r["kind"] == "figure"]
        span = (
            min(r["intensity"] for r in figures) / 2.5,
            max(r["intensity"] for r in figures) * (60 if theme.narrow else 30),
        )
        _draw_roofs(axes, [r for r in rows if r["kind"] == "roof"], span, theme)
        for r in figures:
            _draw_figure(axes, r, theme)
        for series, label in {r["series"]: named(r) for r in figures}.items():
            style = theme.style(series)
            axes.plot([], [], ls="none", marker=style.marker, color=style.color, label=label)
        axes.plot(
            [], [], ls="none", marker="o", mfc=theme.page, mec=theme.soft, label="hollow: decode"
        )
        axes.plot([], [], ls="none", marker="o", color=theme.soft, label="full: prefill")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.set_xlim(*span)
        heights = [r["value"] for r in figures]
        axes.set_ylim(bottom=min(heights) / 4)  # however wide an interval is
        roofs = [r["value"] for r in rows if r["kind"] == "roof"]
        axes.set_ylim(top=3 * max([*heights, *roofs]))
        axes.set_xlabel("intensity, FLOP per byte of weights")
        axes.set_ylabel("FLOP/s")
        axes.yaxis.set_major_formatter(lambda v, _: quantity(v, "FLOP/s"))
        axes.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
        legend(axes, theme)
        counts = {int(r["processes"]) for r in figures if r["processes"]}
        theme.note(
            figure,
            f"bars: 95 % intervals over {max(counts, default=1)} processes; "
            f"n = {_n(figures)} samples a point",
        )
        return figure


def _n(rows: Sequence[Mapping[str, Any]]) -> str:
    counts = [int(r["n"]) for r in rows if r["n"]]
    return f"{min(counts)} to {max(counts)}" if counts else "unknown"


def _figures(one: Seen) -> Iterable[dict[str, Any]]:
    dtype = str(one.case.backend_options.get("dtype", "float32"))
    size = _BYTES.get(dtype)
    headlines = {m.name: m.headline for m in one.record.metrics}
    achieved = {m.achieved: m.name for m in one.record.metrics if m.achieved and m.primary}
    for figure in one.case.figures:
        phase = _RATES.get(figure.metric)
        if phase is None or figure.statistic != headlines.get(figure.metric):
            continue
        if figure.reading.value is None or size is None:
            continue
        batch = _batch(figure.point)
        prompt = one.case.scenario_options.get("prompt_tokens")
        tokens = prompt.get("tokens") if isinstance(prompt, dict) else prompt
        if phase == "prefill" and not isinstance(tokens, int):
            continue  # prompts of many lengths have no single place across
        intensity = 2 * batch / size * (tokens if phase == "prefill" and tokens else 1)
        per_unit = intensity if phase == "decode" else 1.0
        reading = figure.reading
        use = figure.utilization or _use(one, achieved.get(figure.metric), figure.point)
        yield {
            **one.which,
            "kind": "figure",
            "dtype": dtype,
            "phase": phase,
            "point": figure.point,
            "intensity": intensity,
            "value": reading.value * per_unit if reading.value else None,
            "low": reading.low * per_unit if reading.low is not None else None,
            "high": reading.high * per_unit if reading.high is not None else None,
            "bandwidth": _median(one, "read_bytes_per_s"),
            "share": use.reading.value if use else None,
            "n": reading.n,
            "processes": reading.processes,
        }


def _use(one: Seen, metric: str | None, point: str) -> Any:
    return next(
        (
            f.utilization
            for f in one.case.figures
            if f.metric == metric and f.point == point and f.utilization
        ),
        None,
    )


def _batch(point: str) -> int:
    return int(point.removeprefix("batch=")) if point.startswith("batch=") else 1


def _median(one: Seen, name: str) -> float | None:
    values = _values((one,), name)
    return median(values) if values else None


def _values(cases: Iterable[Seen], name: str) -> list[float]:
    readings: list[Reading] = [
        r.ceilings[name] for s in cases for r in s.case.rounds if name in r.ceilings
    ]
    return [reading.value for reading in readings if reading.value is not None]


def _roofs(cases: Sequence[Seen]) -> Iterable[dict[str, Any]]:
    groups: dict[tuple[str, str], list[Seen]] = {}
    for one in cases:
        dtype = str(one.case.backend_options.get("dtype", "float32"))
        groups.setdefault((one.record.id, dtype), []).append(one)
    for (_, dtype), group in groups.items():
        bandwidths, rates = (_values(group, n) for n in ("read_bytes_per_s", "gemm_flop_per_s"))
        if not bandwidths or not rates:
            continue
        letter = group[0].which["run"]
        yield {
            **dict.fromkeys(WHICH, ""),
            "run": letter,
            "run_id": group[0].record.id,
            "label": f"{letter} {dtype}".strip(),
            "series": group[0].which["series"],
            "kind": "roof",
            "dtype": dtype,
            "bandwidth": median(bandwidths),
            "value": median(rates),
            "low": min(rates),
            "high": max(rates),
            "n": len(rates),
        }


def _draw_roofs(
    axes: Axes, roofs: Sequence[Mapping[str, Any]], span: tuple[float, float], theme: Theme
) -> None:
    for place, roof in enumerate(roofs):
        dash = ("solid", (0, (5, 2)), (0, (2, 2)), (0, (5, 1, 1, 1)))[place % 4]
        ridge = roof["value"] / roof["bandwidth"]
        left, right = span
        corners = [x for x in (left, ridge, right) if left <= x <= right]
        heights = [min(x * roof["bandwidth"], roof["value"]) for x in corners]
        axes.plot(corners, heights, color=theme.soft, lw=1.3, ls=dash, zorder=1)
        axes.fill_between(
            [max(ridge, left), right],
            roof["low"],
            roof["high"],
            color=theme.soft,
            alpha=0.13,
            lw=0,
            zorder=0,
        )
        axes.annotate(
            f"{roof['label']}: {quantity(roof['value'], 'FLOP/s')}, "
            f"{quantity(roof['bandwidth'], 'bytes/s')}",
            (right, roof["value"]), xytext=(-2, 3), textcoords="offset points", fontsize=7,
            ha="right", color=theme.soft, zorder=4,
        )  # fmt: skip


def _draw_figure(axes: Axes, row: Mapping[str, Any], theme: Theme) -> None:
    style = theme.style(row["series"])
    if row["low"] is not None:
        bar = axes.plot(
            [row["intensity"]] * 2, [row["low"], row["high"]], color=style.color, lw=1.8
        )
        marked(bar[0], row["series"])
    face = style.color if row["phase"] == "prefill" else theme.page
    dot = axes.plot(
        [row["intensity"]], [row["value"]], ls="none", marker=style.marker, ms=6,
        mfc=face, mec=style.color, zorder=3,
    )  # fmt: skip
    limit = "MFU" if row["phase"] == "prefill" else "MBU"
    words = f"{named(row)}, {row['phase']} {row['point']}".strip()
    words += f": {quantity(row['value'], 'FLOP/s')}"
    marked(
        dot[0], row["series"], words + (f", {limit} {share(row['share'])}" if row["share"] else "")
    )
