"""What a token costs along the sequence, and which tokens were disturbed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Chart
from harness.pictures import marked
from harness.shown import quantity
from reports.charts.tidy import WHICH, frame, named, records, seen

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.store import Run
    from harness.theme import Theme

__all__ = ["SequenceChart"]

_DISTURBED = 1.5
"""A gap of this many times the median at its place was disturbed."""


class SequenceChart(Chart):
    """Median ITL at every place of the sequence, with its spread, warm-up and disturbances."""

    question: ClassVar[str] = "What does each token cost along the sequence?"
    order: ClassVar[int] = 30
    needs: ClassVar[str] = "samples of itl_ms with a place in the sequence"
    measured: ClassVar[str] = (
        "The line is the median over requests at each place of the sequence, the band holds the "
        "middle 80 % of them. Dashed: requests before the steady state, which no figure counts. "
        f"Crosses are gaps of more than {_DISTURBED}× the median at their place: they are counted "
        "in every figure, and shown because something else happened there."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **WHICH,
        "phase": "measure (steady state), warmup, or disturbed (a single gap)",
        "index": "place in the sequence: the gap after this many generated tokens",
        "value": "median ITL of the phase at this place, ms; for disturbed the gap itself",
        "low": "10th percentile, ms",
        "high": "90th percentile, ms",
        "n": "requests",
        "processes": "fresh processes they come from",
    }

    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return a row per place and phase, and one per disturbed gap."""
        rows: list[dict[str, Any]] = []
        for run in runs:
            cases = {s.case.id: s for s in seen(runs) if s.run is run and s.case.status == "done"}
            if not any(f.metric == "itl_ms" for s in cases.values() for f in s.case.figures):
                continue
            samples = run.samples
            samples = samples[samples["metric"] == "itl_ms"]
            for case_id, group in samples.groupby("case", observed=True):
                if case_id in cases:
                    rows += _places(cases[str(case_id)].which, group)
        return frame(rows, self.columns)

    def title(self, data: pd.DataFrame) -> str:
        """Say whether tokens become dearer, and how many were disturbed."""
        steady = data[data["phase"] == "measure"]
        said = []
        for label, rows in steady.groupby("label", sort=False):
            ordered = rows.sort_values("index")["value"]
            tenth = max(len(ordered) // 10, 1)
            said.append((ordered.tail(tenth).median() / ordered.head(tenth).median(), str(label)))
        rise, label = max(said)
        change = f"{abs(rise - 1):.0%} {'dearer' if rise >= 1 else 'cheaper'}"
        disturbed = int((data["phase"] == "disturbed").sum())
        total = int(steady["n"].sum())
        return (
            f"The last tokens are {change} than the first with {label}; "
            f"{disturbed:,} of {total:,} gaps were disturbed"
        )

    def alt(self, data: pd.DataFrame) -> str:
        """Say where each line begins and ends."""
        said = []
        for label, rows in data[data["phase"] == "measure"].groupby("label", sort=False):
            ordered = rows.sort_values("index")["value"]
            first, last = (quantity(float(v), "ms") for v in (ordered.iloc[0], ordered.iloc[-1]))
            said.append(f"{label} from {first} to {last}")
        return f"Lines of the time between tokens along the sequence: {'; '.join(said)}."

    def table(self, data: pd.DataFrame) -> pd.DataFrame:
        """Return every eighth place of the steady state, and the gaps that were disturbed."""
        steady = (data["phase"] == "measure") & (data["index"] % 8 == 0)
        return data[steady | (data["phase"] == "disturbed")].head(200)

    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw a panel per series over a common scale."""
        labels = data.drop_duplicates(["series", "case"])[["series", "case"]].sort_values("series")
        count = len(labels)
        columns = 1 if theme.narrow or count == 1 else 2
        lines = -(-count // columns)
        figure, axes = theme.axes(lines, columns, height=2.0 * lines + 0.45, sharex=True)
        for each, (_, key) in zip(axes, labels.iterrows(), strict=False):
            _panel(each, data[data["case"] == key["case"]], theme)
        for place, each in enumerate(axes):
            if place >= count:
                each.set_visible(False)
            elif place + columns >= count:
                each.set_xlabel("generated tokens so far")
                each.tick_params(labelbottom=True)
        processes = int(data["processes"].max())
        low, high = (int(f(data.loc[data["phase"] == "measure", "n"])) for f in (min, max))
        words = f"{low}" if low == high else f"{low} to {high}"
        theme.note(
            figure,
            f"band: middle 80 % of requests; crosses: gaps above {_DISTURBED}× the median there; "
            f"n = {words} requests in {processes} process{'' if processes == 1 else 'es'} a case",
        )
        return figure


def _places(which: dict[str, Any], group: pd.DataFrame) -> list[dict[str, Any]]:
    import pandas as pd

    rows: list[dict[str, Any]] = []
    processes = group["round"].nunique()
    for phase, part in group.groupby("phase", observed=True):
        grouped = part.groupby("index")["value"]
        table = pd.DataFrame({q: grouped.quantile(q) for q in (0.1, 0.5, 0.9)})
        table["n"] = grouped.size()
        rows += [
            which
            | {"phase": phase, "index": int(index), "processes": processes}  # type: ignore[call-overload]
            | {"value": row[0.5], "low": row[0.1], "high": row[0.9], "n": int(row["n"])}
            for index, row in table.iterrows()
        ]
        if phase != "measure":
            continue
        usual = part["index"].map(table[0.5]).astype(float)
        for _, bad in part[part["value"] > _DISTURBED * usual].iterrows():
            rows.append(
                which
                | {"phase": "disturbed", "index": int(bad["index"]), "value": float(bad["value"])}
                | {"n": 1, "processes": processes}
            )
    return rows


def _panel(axes: Axes, part: pd.DataFrame, theme: Theme) -> None:
    rows = records(part.sort_values("index"))
    style = theme.style(rows[0]["series"])
    steady = [r for r in rows if r["phase"] == "measure"]
    warm = [r for r in rows if r["phase"] == "warmup"]
    bad = [r for r in rows if r["phase"] == "disturbed"]
    places = [r["index"] for r in steady]
    band = axes.fill_between(
        places, [r["low"] for r in steady], [r["high"] for r in steady],
        color=style.color, alpha=0.22, lw=0, label="middle 80 %",
    )  # fmt: skip
    marked(band, rows[0]["series"])
    line = axes.plot(
        places, [r["value"] for r in steady], color=style.color, lw=1.4, label="steady state"
    )
    marked(line[0], rows[0]["series"], named(rows[0]))
    if warm:
        axes.plot(
            [r["index"] for r in warm], [r["value"] for r in warm],
            color=theme.soft, ls=(0, (3, 2)), lw=0.9, label="warm-up",
        )  # fmt: skip
    top = 2.5 * max(r["high"] for r in steady)
    if bad:
        inside = [r for r in bad if r["value"] <= top]
        above = [r for r in bad if r["value"] > top]
        for some, mark, at in ((inside, "x", None), (above, "^", top)):
            axes.plot(
                [r["index"] for r in some], [r["value"] if at is None else at for r in some],
                ls="none", marker=mark, ms=3.5, color=theme.bad, mew=0.9,
            )  # fmt: skip
    low = min(r["low"] for r in steady)
    high = max([r["high"] for r in steady] + [min(r["value"], top) for r in bad])
    pad = 0.12 * (high - low) or 0.1 * high
    axes.set_ylim(max(low - pad, 0), high + pad)
    axes.set_title(named(rows[0]) + (f": {len(bad)} disturbed" if bad else ""), color=style.color)
    axes.set_ylabel("ITL, ms")
