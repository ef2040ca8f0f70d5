"""Intervals as bars of characters: who is ahead, and whether it can be told, at a glance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from harness.reading import Reading
from harness.shown import printable, quantity
from harness.store import Run
from harness.store.answer import Comparison, comparisons, labels
from harness.store.record import CaseRecord, RunRecord

__all__ = ["comparison_bars", "interval_bar", "sequence_line", "sparkline"]

_WIDTH = 27
_LEVELS = "▁▂▃▄▅▆▇█"


def comparison_bars(record: RunRecord, only: Sequence[str] = ()) -> Iterator[Table]:
    """Yield a small table per comparison of two cases or more, best first.

    Args:
        record: A run's record.
        only: Metrics to show; all where empty.
    """
    names = labels(record)
    for compared in comparisons(record):
        chosen = not only or compared.metric.name in only
        if chosen and len(compared.ranked) > 1:
            yield _table(compared, names)


def _table(compared: Comparison, names: dict[str, str]) -> Table:
    readings = [line.headline.reading for _, line in compared.ranked]
    low, high = _span(readings)
    what = " ".join(filter(None, [compared.scenario, compared.metric.name, compared.point]))
    table = Table(
        box=None, padding=(0, 1, 0, 0), show_header=False, title_justify="left", title_style="",
        title=Text(f"{printable(what)}, {compared.metric.better} is better", style="dim"),
    )  # fmt: skip
    table.add_column("", width=24, overflow="ellipsis", no_wrap=True)
    table.add_column("", justify="right", width=13, no_wrap=True)
    table.add_column("", width=_WIDTH, no_wrap=True)
    table.add_column("", justify="right", width=9, no_wrap=True)
    for place, (case, line) in enumerate(compared.ranked):
        table.add_row(
            Text(printable(names[case.id])),
            Text(line.value),
            Text(interval_bar(line.headline.reading, low, high), style="bold" if not place else ""),
            Text(line.spread, style="dim"),
        )
    return table


def _span(readings: Sequence[Reading]) -> tuple[float, float]:
    """From the least end to the most; one interval of enormous width must not hide the rest."""
    values = [r.value for r in readings if r.value is not None]
    ends = [e for r in readings for e in (r.low, r.high) if e is not None] or values
    low = max(min([*values, *ends]), 0.5 * min(values))
    high = min(max([*values, *ends]), 2 * max(values))
    pad = (high - low) / (_WIDTH - 4)  # so that the outermost ends have their caps
    return low - pad, high + pad


def interval_bar(reading: Reading, low: float, high: float, width: int = _WIDTH) -> str:
    """Return `  ├──●───┤   `: value and interval between `low` and `high`, never outside.

    An end that lies outside is drawn without its cap.
    """
    if reading.value is None:
        return ""
    cells = [" "] * width

    def place(value: float) -> int:
        share = (value - low) / (high - low) if high > low else 0.5
        return min(max(round(share * (width - 1)), 0), width - 1)

    if reading.low is not None and reading.high is not None:
        first, last = place(reading.low), place(reading.high)
        cells[first : last + 1] = "─" * (last + 1 - first)
        if last > first:
            cells[first] = "├" if reading.low >= low else "─"
            cells[last] = "┤" if reading.high <= high else "─"
    cells[place(reading.value)] = "●"
    return "".join(cells)


def sequence_line(run: Run, case: CaseRecord) -> Text | None:
    """Return what a token costs along the sequence, as a sparkline; None where it is not known."""
    import pyarrow.compute as pc

    if not any(figure.metric == "itl_ms" for figure in case.figures):
        return None
    table = run.table
    wanted = {"case": case.id, "metric": "itl_ms", "phase": "measure"}
    for column, value in wanted.items():
        table = table.filter(pc.equal(table[column].cast("string"), value))
    gaps: dict[int, list[float]] = {}
    for place, value in zip(table["index"].to_pylist(), table["value"].to_pylist(), strict=True):
        gaps.setdefault(place, []).append(value)
    if len(gaps) < 2:
        return None
    medians = [sorted(gaps[place])[len(gaps[place]) // 2] for place in sorted(gaps)]
    low, high = (quantity(end, "ms") for end in (min(medians), max(medians)))
    said = f"itl_ms along the sequence {sparkline(medians)} {low} to {high} (medians)"
    return Text(said, style="dim")


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Return values as a line of blocks, the least lowest; medians where there are too many."""
    if not values:
        return ""
    step = max(len(values) / width, 1.0)
    cuts = [
        values[int(n * step) : max(int((n + 1) * step), int(n * step) + 1)]
        for n in range(min(len(values), width))
    ]
    centres = [sorted(part)[len(part) // 2] for part in cuts if part]
    low, high = min(centres), max(centres)
    if high == low:
        return _LEVELS[0] * len(centres)
    return "".join(_LEVELS[round((c - low) / (high - low) * (len(_LEVELS) - 1))] for c in centres)
