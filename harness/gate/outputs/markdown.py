"""Markdown with the table, intervals, and each interval drawn in characters."""

from __future__ import annotations

from harness.gate.forest import forest, reach
from harness.gate.judgement import Judgement, Row, Verdict
from harness.gate.outputs.words import cell, percent, values

__all__ = ["markdown_table"]

_SIGN: dict[Verdict, str] = {
    "pass": "✅",
    "improvement": "🚀",
    "regression": "❌",
    "inconclusive": "❔",
    "incomparable": "🚫",
    "no-figure": "❗",
}


def markdown_table(judgement: Judgement) -> str:
    """Return the judgement as Markdown; names from files cannot break the table."""
    verdict = judgement.verdict
    base, cand = judgement.base, judgement.cand
    lines = [
        f"### {_SIGN[verdict]} {verdict}: {cell(cand.label)} against {cell(base.label)}",
        "",
        f"{cell(judgement.method)}.",
        "",
    ]
    lines += _table([row for row in judgement.rows if row.primary])
    others = [row for row in judgement.rows if not row.primary]
    if others:
        lines += ["", "<details><summary>explored beside it; decides nothing</summary>", ""]
        lines += [*_table(others), "", "</details>"]
    for difference in judgement.differences:
        allowed = " (allowed)" if difference.allowed else ""
        lines += ["", f"- differs{allowed}: {cell(difference.words())}"]
    lines += [line for note in judgement.notes for line in ("", f"- {cell(note)}")]
    return "\n".join(lines) + "\n"


def _table(rows: list[Row]) -> list[str]:
    edge = reach(rows)
    lines = [
        "| | case | figure | base → candidate | change, 95 % interval | | why |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        drawn = f"`{forest(row, edge, 19)}`" if row.ratio is not None else ""
        cells = [
            f"{_SIGN[row.verdict]} {row.verdict}",
            cell(row.case),
            cell(row.name),
            values(row).replace("->", "→"),
            percent(row),
            drawn,
            cell(row.reason),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
