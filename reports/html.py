"""Runs as one page: a single file that needs no network, no script and no server.

The template has the words and their order; this module has only what it takes to fill it. Names
and logs come from files and third parties: all text is made printable here and escaped by jinja2.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Report
from harness.shown import interval, printable, quantity
from harness.store.answer import Comparison, answers, comparisons, labels, tokens_words
from harness.store.durable import write_durably
from harness.store.record import CaseRecord, RunRecord
from harness.store.view import (
    Line,
    caution_words,
    cautions_of,
    check_words,
    environment_words,
    lines,
    run_words,
    why_no_figures,
)

if TYPE_CHECKING:
    from harness.store import Run

__all__ = ["HtmlReport"]

_WIDEST = 2.0
"""How far beyond the largest value an axis goes for the sake of an interval."""
_TEMPLATES = Path(__file__).parent / "templates"


class HtmlReport(Report):
    """One self-contained page: the answer, a plot per primary metric, every figure, definitions."""

    summary: ClassVar[str] = "one self-contained page, works offline and without scripts"
    suffix: ClassVar[str] = ".html"

    def write(self, runs: Sequence[Run], path: Path) -> None:
        """Write the page.

        Raises:
            StoreError: where `path` cannot be written.
        """
        write_durably(path, _page(runs).encode("utf-8"))


def _page(runs: Sequence[Run]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = printable
    environment.filters["block"] = lambda text: printable(text, 20_000, lines=True)
    style = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template("page.html.j2").render(
        title=", ".join(run.record.suite for run in runs) or "no run",
        style=Markup(style),  # noqa: S704 - our own file
        style_hash=f"sha256-{digest}",
        runs=[_run(run) for run in runs],
    )


def _run(run: Run) -> dict[str, Any]:
    record = run.record
    first, *more = answers(record)
    return {
        "record": record,
        "what": run_words(record),
        "where": environment_words(record),
        "answer": first,
        "tokens": tokens_words(record),
        "sound": all(case.status == "done" for case in record.cases),
        "answers": more,
        "plots": list(_plots(record)),
        "cases": [_case(case, record) for case in record.cases],
        "doubts": sum(len(cautions_of(case)) for case in record.cases),
        "failures": [_failure(case) for case in record.cases if case.failure],
        "problems": run.problems,
        "environment": json.dumps(record.environment, indent=2, ensure_ascii=False),
        "command": shlex.join(record.command) or f"harness run {record.suite}",
    }


def _case(case: CaseRecord, record: RunRecord) -> dict[str, Any]:
    found = lines(case, record, rates=True)
    return {
        "id": case.id,
        "status": case.status,
        "check": check_words(case) if case.status == "done" else None,
        "why": why_no_figures(case),
        "tails": [t for t in ("p90", "p99") if any(t in line.figures for line in found)],
        "lines": found,
        "cautions": [caution_words(c) for c in cautions_of(case)],
        "interval": lambda line: interval(line.headline.reading, line.metric.unit),
    }


def _failure(case: CaseRecord) -> dict[str, Any]:
    bad = next(r for r in case.rounds if r.failure)
    return {
        "id": case.id,
        "round": bad.round,
        "failure": bad.failure,
        "command": shlex.join(bad.command),
    }


@dataclass(frozen=True)
class Dot:
    """One figure in a plot; places are per cent of the plot's width."""

    label: str
    point: str
    shown: str
    spoken: str
    """For who cannot see the plot."""
    at: float
    low: float | None
    high: float | None
    open_end: bool
    """Whether the interval goes on beyond the plot."""
    best: bool


@dataclass(frozen=True)
class Plot:
    """The cases of a primary metric, from zero, so that lengths compare as the figures do."""

    title: str
    better: str
    definition: str
    """Its first sentence; all of it is further down."""
    ticks: Sequence[tuple[float, str]]
    """Place and label."""
    dots: Sequence[Dot]


def _plots(record: RunRecord) -> Iterator[Plot]:
    """One plot per primary metric of a scenario; its points stand beneath each other."""
    names = labels(record)
    grouped: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons(record):
        grouped.setdefault((comparison.scenario, comparison.metric.name), []).append(comparison)
    for (scenario, name), group in grouped.items():
        metric = group[0].metric
        readings = [line.headline.reading for c in group for _, line in c.ranked]
        values = max(reading.value or 0.0 for reading in readings)
        # One interval of enormous width must not press all dots against the axis.
        ends = max(max(reading.high or 0.0, reading.value or 0.0) for reading in readings)
        top, step = _scale(min(ends, _WIDEST * values), metric.unit)
        count = round(top / step)
        yield Plot(
            title=f"{scenario}: {name}",
            better=f"{metric.better} is better",
            definition=metric.definition.partition(". ")[0].rstrip(".") + ".",
            ticks=[(100 * i / count, quantity(i * step, metric.unit)) for i in range(count + 1)],
            dots=[
                _dot(names[case.id], line, top, best=place == 0 and len(comparison.ranked) > 1)
                for comparison in group
                for place, (case, line) in enumerate(comparison.ranked)
            ],
        )


def _dot(label: str, line: Line, top: float, *, best: bool) -> Dot:
    reading = line.headline.reading
    low, high = (
        None if end is None else min(max(100 * end / top, 0.0), 100.0)
        for end in (reading.low, reading.high)
    )
    said = f"{line.value}, 95 % interval {interval(reading, line.metric.unit) or 'unknown'}"
    return Dot(
        label=label,
        point=line.point,
        shown=f"{line.value} {line.spread}".strip(),
        spoken=" ".join(filter(None, [label, line.point, said])),
        at=100 * (reading.value or 0.0) / top,
        low=low,
        high=high,
        open_end=reading.high is not None and reading.high > top,
        best=best,
    )


def _scale(most: float, unit: str) -> tuple[float, float]:
    """Return a round end of the axis at or above `most`, and the step between ticks."""
    if most <= 0:
        return 1.0, 1.0
    whole = 1024.0 ** int(math.log(most, 1024)) if unit == "bytes" and most >= 1 else 1.0
    step = 10.0 ** math.floor(math.log10(most / whole)) * whole
    step *= next(f for f in (0.25, 0.5, 1.0, 2.5) if math.ceil(most / (step * f)) <= 5)
    return math.ceil(most / step) * step, step
