"""Runs as a notebook: every chart with the lines that draw it again, and its picture already there.

The file is written as nbformat 4.5 describes it; the package of that name would only add a
dependency to a handful of keys.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.charts import charts
from harness.contracts import Chart, Report
from harness.pictures import png
from harness.shown import printable
from harness.store.answer import answers, tokens_words
from harness.store.durable import write_durably
from harness.store.simulated import simulated_words

if TYPE_CHECKING:
    import pandas as pd

    from harness.store import Run

__all__ = ["NotebookReport"]


class NotebookReport(Report):
    """A cell a chart, to change and run again."""

    summary: ClassVar[str] = "a Jupyter notebook: a cell a chart, to change and run again"
    suffix: ClassVar[str] = ".ipynb"

    def write(self, runs: Sequence[Run], path: Path) -> None:
        """Write the notebook with its pictures; nothing of it needs to be run to be read.

        Raises:
            StoreError: where `path` cannot be written.
        """
        document = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {
                "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
                "language_info": {"name": "python"},
            },
            "cells": [{**cell, "id": f"cell-{number}"} for number, cell in enumerate(_cells(runs))],
        }
        write_durably(path, json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n")


def _cells(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    said = [words for run in runs for words in (*answers(run.record), tokens_words(run.record))]
    for warning in filter(None, (simulated_words(run.record) for run in runs)):
        color = "color: #b3261e; font-weight: bold"
        yield _words(f'<p style="{color}">{_plain(warning)}.</p>')
    yield _words("\n".join(f"- {_plain(sentence)}" for sentence in said))
    paths = [str(run.path.resolve()) for run in runs]
    yield _code(
        "from harness import load_run\n"
        "from harness.charts import DARK, GREY, LIGHT, chart\n\n"
        f"runs = [load_run(path) for path in {paths!r}]"
    )
    yield _code("runs[0].figures.head(20)")
    for name, chart in charts().items():
        data = chart.data(runs)
        if data.empty:
            continue
        yield _words(f"## {chart.question}\n\n{_plain(chart.title(data))}\n\n{chart.measured}")
        yield _code(
            f"data = chart({name!r}).data(runs)\nchart({name!r}).figure(data)",
            _picture(chart, data),
        )


def _picture(chart: Chart, data: pd.DataFrame) -> dict[str, Any]:
    image = base64.b64encode(png(chart.figure(data), dpi=100)).decode()
    return {
        "output_type": "display_data",
        "metadata": {},
        "data": {"image/png": image, "text/plain": [_plain(chart.alt(data))]},
    }


def _words(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def _code(source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "source": source.splitlines(keepends=True),
        "outputs": list(outputs),
    }


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: a notebook's HTML is the reader's."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|~$" else c for c in printable(text, 1000))
