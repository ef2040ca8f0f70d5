"""Runs as one page: a single file that needs no network, no script and no server.

The template has the words and their order; this module has only what it takes to fill it. Names
and logs come from files and third parties: all text is made printable here and escaped by jinja2.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Report
from harness.shown import interval, printable
from harness.store.answer import answers, headline, tokens_words
from harness.store.beside import beside, no_energy
from harness.store.durable import write_durably
from harness.store.record import CaseRecord, RunRecord
from harness.store.simulated import simulated_words
from harness.store.view import (
    caution_words,
    cautions_of,
    check_words,
    environment_words,
    lines,
    marks_of,
    run_words,
    why_no_figures,
)
from harness.theme import DARK, LIGHT
from reports.charts.tidy import letters, seen
from reports.html.choices import choices
from reports.html.questions import Absent, Question, questions
from reports.html.tables import dumped
from reports.html.why import why

if TYPE_CHECKING:
    from harness.store import Run

__all__ = ["HtmlReport", "page"]

_HERE = Path(__file__).parent
_LOG_LINES = 200


class HtmlReport(Report):
    """One self-contained page: the answer, a chart per question, every figure, definitions."""

    summary: ClassVar[str] = "one self-contained page with charts; offline, scripts optional"
    suffix: ClassVar[str] = ".html"

    def write(self, runs: Sequence[Run], path: Path) -> None:
        """Write the page; where there are several runs, the first is what the others are held to.

        Raises:
            StoreError: where `path` cannot be written.
        """
        write_durably(path, page(runs).encode("utf-8"))


def page(runs: Sequence[Run]) -> str:
    """Return the page of one or several runs."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = printable
    environment.filters["block"] = lambda text: printable(text, 20_000, lines=True)
    environment.filters["ours"] = Markup  # SVG and JSON that this package wrote
    style, script = (_own(name) for name in ("page.css", "page.js"))
    style = style.replace("/*series*/", _series_colors())
    answered, absent = questions(runs)
    return environment.get_template("page.html.j2").render(
        title=", ".join(run.record.suite for run in runs) or "no run",
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        style_hash=_hash(style),
        script_hash=_hash(script),
        runs=[_run(run, letter) for run, letter in zip(runs, letters(runs), strict=True)],
        series=_series(runs),
        questions=answered,
        absent=absent,
        why=why(runs),
        data=Markup(dumped(_data(runs, answered, absent))),  # noqa: S704 - escaped by dumped
    )


def _own(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _series_colors() -> str:
    """Return the series' colours as CSS variables, light and dark."""
    light, dark = (
        "".join(f"--c{n}:{color};" for n, color in enumerate(theme.series))
        for theme in (LIGHT, DARK)
    )
    return (
        f":root{{{light}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
        f":root[data-theme=light]{{{light}}}:root[data-theme=dark]{{{dark}}}"
        f"@media print{{:root,:root[data-theme=dark]{{{light}}}}}"
    )


def _series(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return every series once: its number, name and colour, for the key that all charts share."""
    found = {one.which["series"]: one.which["label"] for one in seen(runs)}
    count = len(LIGHT.series)
    return [
        {
            "number": n,
            "label": label,
            "color": f"var(--c{n % count})",
            "filled": LIGHT.style(n).filled,
        }
        for n, label in found.items()
    ]


def _run(run: Run, letter: str) -> dict[str, Any]:
    record = run.record
    return {
        "letter": letter,
        "record": record,
        "what": run_words(record),
        "where": environment_words(record),
        "simulated": simulated_words(record),
        "headline": headline(record, tokens=False),
        "choices": choices(record),
        "believe": _believe(record),
        "tokens": tokens_words(record),
        "no_energy": no_energy(record),
        "sound": all(case.status in ("done", "unavailable") for case in record.cases),
        "answers": answers(record),
        "marks": list(_marks(record)),
        "cases": [_case(case, record) for case in record.cases],
        "doubts": sum(len(cautions_of(case)) for case in record.cases),
        "failures": [_failure(run, case) for case in record.cases if case.failure],
        "problems": run.problems,
        "environment": json.dumps(record.environment, indent=2, ensure_ascii=False),
        "command": shlex.join(record.command) or f"harness run {record.suite}",
    }


def _believe(record: RunRecord) -> str:
    """Say what the figures rest on: without that no figure is worth reading."""
    counts = [f.reading.processes for c in record.cases for f in c.figures if f.reading.processes]
    most = max(counts, default=0)
    if not most:
        return "no figure"
    order = ", cases in random order" if len(record.cases) > 1 else ""
    fresh = f"up to {most} fresh processes a figure{order}; intervals are 95 %, between processes"
    return fresh if most > 1 else "one process a figure, so nothing is known of the spread between"


def _marks(record: RunRecord) -> Iterator[str]:
    """Say in words each what a reader must know of the whole run before any figure."""
    seen_marks = dict.fromkeys(mark for case in record.cases for mark in marks_of(case, record))
    for mark in seen_marks:
        which = [case.id for case in record.cases if mark in marks_of(case, record)]
        everywhere = len(which) == len(record.cases)
        yield mark if everywhere else f"{mark}: {len(which)} of {len(record.cases)} cases"
    if record.status == "running":
        yield "still running, or killed"


def _case(case: CaseRecord, record: RunRecord) -> dict[str, Any]:
    found = lines(case, record, rates=True)
    return {
        "id": case.id,
        "status": case.status,
        "marks": marks_of(case, record),
        "check": check_words(case) if case.status == "done" else None,
        "why": why_no_figures(case),
        "tails": [t for t in ("p90", "p99") if any(t in line.figures for line in found)],
        "lines": found,
        "beside": beside(case),
        "cautions": [caution_words(c) for c in cautions_of(case)],
        "interval": lambda line: interval(line.headline.reading, line.metric.unit),
    }


def _failure(run: Run, case: CaseRecord) -> dict[str, Any]:
    bad = next(r for r in case.rounds if r.failure)
    return {
        "id": case.id,
        "round": bad.round,
        "failure": bad.failure,
        "log": _log(run, case, bad.round) or (bad.failure.log_tail if bad.failure else ""),
        "command": shlex.join(bad.command),
    }


def _log(run: Run, case: CaseRecord, number: int) -> str:
    """Return the end of a round's log; empty where there is none."""
    try:
        text = run.log_path(case.id, number).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-_LOG_LINES:])


def _data(
    runs: Sequence[Run], answered: Sequence[Question], absent: Sequence[Absent]
) -> dict[str, Any]:
    """Return all that the charts show, for who wants to plot it again."""
    return {
        "runs": [run.record.id for run in runs],
        "charts": {
            q.name: {"question": q.heading, "columns": q.columns, "data": q.data} for q in answered
        },
        "absent": {a.heading: a.why for a in absent},
    }
