"""A run in a few lines of plain text, for a chat or a commit message: the smallest useful report.

    harness report --format chat && cat report.txt

It picks no figure and forms no judgement of its own: the sentences are those that every report
begins with, so that the chat and the page never disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.contracts import Report
from harness.shown import printable
from harness.store import Run
from harness.store.answer import headline
from harness.store.record import RunRecord
from harness.store.view import cautions_of, environment_words, marks_of, why_no_figures

__all__ = ["ChatReport"]

_WITHOUT = 3
"""So many cases without figures are named; a chat is no log."""


class ChatReport(Report):
    """What was found, what is doubtful, where it ran: two lines a run, and one for each doubt."""

    summary = "a few lines of plain text for a chat: the answer, doubts, the machine"
    suffix = ".txt"

    def write(self, runs: Sequence[Run], path: Path) -> None:
        """Write the lines of every run, a blank line between two runs."""
        path.write_text("\n\n".join("\n".join(_lines(run.record)) for run in runs) + "\n")


def _lines(record: RunRecord) -> Iterator[str]:
    marks = dict.fromkeys(mark for case in record.cases for mark in marks_of(case, record))
    marked = f" [{', '.join(marks)}]" if marks else ""
    yield printable(f"{record.suite}{marked}: {headline(record)}", 600)
    without = [f"{c.id}: {why}" for c in record.cases if (why := why_no_figures(c))]
    for words in without[:_WITHOUT]:
        yield printable(f"! {words}", 300)
    if len(without) > _WITHOUT:
        yield f"! and {len(without) - _WITHOUT} more cases without figures"
    if doubts := sum(len(cautions_of(case)) for case in record.cases):
        yield f"! {doubts} caution{'' if doubts == 1 else 's'}; harness show names them"
    yield printable(f"{environment_words(record)}; run {record.id}")
