"""A judgement on the terminal: what decides, with intervals drawn, then what else was seen."""

from __future__ import annotations

import json as json_text
from collections.abc import Iterator, Sequence

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.cli.table import stdout
from harness.gate.forest import forest, reach
from harness.gate.judgement import Judgement, Row, Verdict
from harness.gate.outputs.words import percent, values
from harness.shown import printable

__all__ = ["judgement_json", "judgement_table", "print_judgement"]

_STYLE: dict[Verdict, str] = {
    "pass": "green",
    "improvement": "bold green",
    "regression": "bold red",
    "inconclusive": "yellow",
    "incomparable": "magenta",
    "no-figure": "red",
}


def print_judgement(judgement: Judgement, *, everything: bool = False, json_: bool = False) -> None:
    """Print a judgement as a table, or as JSON."""
    if json_:
        typer.echo(judgement_json(judgement), nl=False)
    else:
        stdout().print(judgement_table(judgement, everything=everything))


def judgement_json(judgement: Judgement) -> str:
    """Return a judgement as JSON, its verdict first."""
    said = {"verdict": judgement.verdict, **judgement.model_dump(mode="json")}
    return json_text.dumps(said, indent=1) + "\n"


def judgement_table(judgement: Judgement, *, everything: bool = False) -> RenderableType:
    """Return the table: rows that decide, those explored if asked for, and the verdict."""
    parts: list[RenderableType] = [*_header(judgement), Text()]
    deciding = [row for row in judgement.rows if row.primary]
    others = [row for row in judgement.rows if not row.primary]
    parts += _rows(deciding)
    shown = others if everything else [r for r in others if r.verdict in _WORTH_A_LINE]
    if shown:
        parts.append(Text("explored beside it; decides nothing", style="dim"))
        parts += _rows(shown)
    parts += [Text(printable(note), style="dim") for note in judgement.notes]
    for difference in judgement.differences:
        allowed = "differs, as allowed" if difference.allowed else "differs"
        parts.append(Text(f"{allowed}: {printable(difference.words())}", style="magenta"))
    parts.append(Text(_conclusion(judgement), style=_STYLE[judgement.verdict]))
    return Group(*parts)


_WORTH_A_LINE: tuple[Verdict, ...] = ("regression", "improvement")


def _header(judgement: Judgement) -> Iterator[Text]:
    for name, side in (("base", judgement.base), ("cand", judgement.cand)):
        revision = f", revision {side.revision[:12]}" if side.revision else ""
        made = f", {side.created_at[:16].replace('T', ' ')}" if side.created_at else ""
        words = f"{name}: {side.label} ({side.run}{revision}{made})"
        yield Text(printable(words), style="bold")
    yield Text(printable(judgement.method), style="dim")


def _rows(rows: Sequence[Row]) -> Iterator[RenderableType]:
    edge = reach(rows)
    cases = dict.fromkeys(row.case for row in rows)
    for case in cases:
        yield Text(printable(case), style="bold cyan")
        table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
        reasons = []
        for row in rows:
            if row.case != case:
                continue
            if row.ratio is None:
                reasons.append(f"{row.verdict}: {row.name}: {row.reason}")
                continue
            table.add_row(
                Text(printable(row.name), overflow="fold"),
                Text(forest(row, edge, 21)),
                Text(percent(row)),
                Text(row.verdict, style=_STYLE[row.verdict]),
            )
            reasons.append("; ".join(filter(None, [f"{row.name} {values(row)}", row.reason])))
        if table.row_count:
            yield Padding(table, (0, 0, 0, 2))
        for reason in reasons:
            yield Padding(Text(printable(reason), style="dim"), (0, 0, 0, 4))


def _conclusion(judgement: Judgement) -> str:
    total = sum(row.primary for row in judgement.rows)
    count = judgement.count(judgement.verdict)
    if judgement.verdict == "pass":
        return f"pass: {total} of {total} figures are no slower beyond the margin"
    if not total:
        return "no figure: nothing was compared"
    return f"{judgement.verdict}: {count} of {total} figures"
