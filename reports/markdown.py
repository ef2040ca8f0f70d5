"""Runs as Markdown: the table for a pull request or an issue."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Report
from harness.shown import printable
from harness.store.answer import answers, tokens_words
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
    run_words,
    why_no_figures,
)

if TYPE_CHECKING:
    from harness.store import Run

__all__ = ["MarkdownReport"]

_SPECIAL = re.compile(
    r"[\\`*{}\[\]<>#!|~$@&]"  # always
    r"|(?<![^\W_])_|_(?![^\W_])"  # inside a word it is only an underscore
    r"|:(?=[A-Za-z/+_])"  # https://, :emoji:
    r"|(?<=www)\."
    r"|^[-+]"
)
_ESCAPES = {
    "<": "&lt;",
    ">": "&gt;",
    "&": "&amp;",
    ":": "&#58;",
    ".": "&#46;",
    # GitHub looks for @people and #issues after all escapes are undone; a comment keeps them apart.
    "@": "@<!-- -->",
    "#": "\\#<!-- -->",
}


class MarkdownReport(Report):
    """The answer and one table per run, as GitHub shows them."""

    summary: ClassVar[str] = "a table for a pull request"
    suffix: ClassVar[str] = ".md"

    def write(self, runs: Sequence[Run], path: Path) -> None:
        """Write the file.

        Raises:
            StoreError: where `path` cannot be written.
        """
        text = "\n".join(line for run in runs for line in _run(run.record))
        write_durably(path, (text + "\n").encode("utf-8"))


def _run(record: RunRecord) -> Iterator[str]:
    first, *more = answers(record)
    if said := simulated_words(record):
        # GitHub's alert: red, with a sign, in every theme.
        yield from ("> [!CAUTION]", f"> {_plain(said)}.", "")
    yield f"### {_plain(first)}"
    yield ""
    yield from (f"- {_plain(sentence)}" for sentence in [*more, tokens_words(record)])
    yield ""
    yield "| case | metric | value | ± 95 % | p90 | p99 | MBU / MFU | check |"
    yield "|---|---|--:|--:|--:|--:|--:|---|"
    for case in record.cases:
        yield from _rows(case, record)
    yield ""
    for case in record.cases:
        for caution in cautions_of(case):
            yield f"- ⚠ {_plain(f'{case.id}: {caution_words(caution)}')}"
    yield ""
    made = [run_words(record), environment_words(record), no_energy(record), f"run {record.id}"]
    about = "; ".join(filter(None, made))
    yield f"<sub>{_plain(about)}</sub>"
    yield ""


def _rows(case: CaseRecord, record: RunRecord) -> Iterator[str]:
    why = why_no_figures(case)
    if why is not None:
        yield _row([case.id, why, "", "", "", "", "", case.status])
        return
    name, check = case.id, check_words(case)
    for line in lines(case, record):
        metric = f"{line.metric.name} {line.point}".strip()
        tails = [line.tail("p90"), line.tail("p99")]
        yield _row([name, metric, line.value, line.spread, *tails, line.share, check])
        name = check = ""
    for row in beside(case):
        yield _row(["", row.name, row.value, row.spread, "", "", "", row.note])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(text: str) -> str:
    """Text without any meaning to Markdown or HTML: what would have one is escaped."""
    return _SPECIAL.sub(lambda m: _ESCAPES.get(m[0], f"\\{m[0]}"), printable(text))
