"""GitHub Actions: annotations as workflow commands, and the table in the step summary.

Workflow commands: https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from harness.errors import InputError
from harness.gate.judgement import Judgement, Verdict
from harness.gate.outputs.markdown import markdown_table
from harness.gate.outputs.words import sentence
from harness.shown import printable

__all__ = ["github_report"]

_COMMAND: dict[Verdict, str] = {
    "regression": "error",
    "no-figure": "error",
    "incomparable": "error",
    "inconclusive": "warning",
    "improvement": "notice",
}


def github_report(judgement: Judgement) -> Iterator[str]:
    """Yield annotations to print, and append the table to `GITHUB_STEP_SUMMARY` where that is set.

    Raises:
        InputError: where the summary cannot be written.
    """
    for row in judgement.rows:
        command = _COMMAND.get(row.verdict) if row.primary else None
        if command:
            title = _property(f"{row.verdict}: {row.name}")
            yield f"::{command} title={title}::{_data(sentence(row))}"
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(markdown_table(judgement))
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", where=summary) from error


def _data(text: str) -> str:
    """Escape as the runner unescapes; a name from a file must not start a command of its own."""
    safe = printable(text, 2000)
    return safe.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
