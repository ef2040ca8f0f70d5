"""Throughput sweeps as rows: batch, rate, share of the ceiling. Three charts begin with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from harness.store.record import Figure
from reports.charts.tidy import Seen, ends, seen

if TYPE_CHECKING:
    from harness.store import Run

__all__ = ["DECODE", "batches", "figure_of"]

DECODE = "decode_tokens_per_s"


def figure_of(one: Seen, metric: str, point: str | None = None) -> Figure | None:
    """Return the headline of a metric that has a value; None where there is none."""
    found = (f for f in one.case.figures if f.metric == metric and point in (None, f.point))
    return next((f for f in found if f.reading.value is not None), None)


def batches(runs: Sequence[Run]) -> Iterator[tuple[Seen, dict[str, Any]]]:
    """Yield decode throughput per case and batch: the columns of a reading, batch and mbu."""
    for one in seen(runs):
        if one.case.status != "done":
            continue
        for record in one.case.figures:
            if record.metric != DECODE or not record.point.startswith("batch="):
                continue
            if record.reading.value is None or record.statistic != _headline(one):
                continue
            use = record.utilization
            mbu = use.reading.value if use and use.name == "MBU" else None
            batch = int(record.point.removeprefix("batch="))
            yield one, {**one.which, "batch": batch, "mbu": mbu, **ends(record.reading)}


def _headline(one: Seen) -> str:
    return next((m.headline for m in one.record.metrics if m.name == DECODE), "p50")
