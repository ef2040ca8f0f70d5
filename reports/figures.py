"""Figures of several runs for other programs: one table, a row per statistic."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Report
from harness.store.answer import answers, tokens_words
from harness.store.durable import write_durably
from harness.store.migrate import plain
from harness.store.run import figure_rows
from harness.store.view import cautions_of, marks_of

if TYPE_CHECKING:
    from harness.store import Run

__all__ = ["CsvReport", "JsonReport"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class CsvReport(Report):
    """Every statistic with its interval, one a line, the run's id first."""

    summary: ClassVar[str] = "figures of several runs as one table for a spreadsheet"
    suffix: ClassVar[str] = ".csv"

    def write(self, runs: Sequence[Run], path: Path) -> None:
        """Write the file; text that a spreadsheet would run as a formula gets an apostrophe.

        Raises:
            StoreError: where `path` cannot be written.
        """
        text = io.StringIO()
        rows = list(_rows(runs))
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(list(rows[0]) if rows else ["run"])
        writer.writerows([[_cell(value) for value in row.values()] for row in rows])
        write_durably(path, text.getvalue().encode("utf-8", "replace"))


class JsonReport(Report):
    """The answers, figures, cautions and definitions of several runs."""

    summary: ClassVar[str] = "answers, figures, cautions and definitions of several runs"
    suffix: ClassVar[str] = ".json"

    def write(self, runs: Sequence[Run], path: Path) -> None:
        """Write the file.

        Raises:
            StoreError: where `path` cannot be written.
        """
        document = {"schema": 1, "runs": [_document(run) for run in runs]}
        write_durably(path, json.dumps(plain(document), indent=1).encode() + b"\n")


def _rows(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    for run in runs:
        marks = {c.id: ", ".join(marks_of(c, run.record)) for c in run.record.cases}
        for row in figure_rows(run.record):
            yield {"run": run.id, **row, "marks": marks[row["case"]]}


def _document(run: Run) -> dict[str, Any]:
    record = run.record
    return {
        "run": record.id,
        "suite": record.suite,
        "created_at": record.created_at,
        "status": record.status,
        "harness_version": record.harness_version,
        "answers": answers(record),
        "tokens": tokens_words(record),
        "figures": list(_rows([run])),
        "cautions": [
            {"case": case.id, **caution.model_dump(mode="json")}
            for case in record.cases
            for caution in cautions_of(case)
        ],
        "metrics": [metric.model_dump(mode="json") for metric in record.metrics],
        "environment": record.environment,
    }


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
