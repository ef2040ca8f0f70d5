"""What made a side slower, written out: one offline page, Markdown for a pull request, JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.gate.outputs.words import cell
from harness.gate.why import Explained, PhaseExplained
from harness.profiling.difference import Change
from harness.profiling.words import place_words
from harness.shown import number, printable, quantity

__all__ = ["explanation_html", "explanation_json", "explanation_markdown", "explanation_writer"]

_HERE = Path(__file__).parent
_ROWS = 10
_LEAST = 0.01
"""Of the phase: rows that changed less are left out of tables."""
_WIDE, _SLIM = 960.0, 350.0


def explanation_writer(path: Path) -> Callable[[Sequence[Explained]], str]:
    """Return what makes the text for a file, by its suffix.

    Raises:
        InputError: where there is no such form.
    """
    forms = {
        ".html": explanation_html,
        ".md": explanation_markdown,
        ".json": explanation_json,
    }
    if path.suffix not in forms:
        raise InputError(
            f"{path.name} names no form", expected=f"a file that ends in {', '.join(forms)}"
        )
    return forms[path.suffix]


def explanation_json(found: Sequence[Explained]) -> str:
    """Return one object per phase, with every row."""
    return json.dumps([one for case in found for one in case.plain()])


def explanation_markdown(found: Sequence[Explained]) -> str:
    """Return the sentence and the rows that changed, case by case."""
    parts = []
    for case in found:
        parts.append(f"### Why: {cell(case.case)}\n")
        for phase in case.phases:
            parts.append(f"{cell(phase.sentence)}\n")
            rows = _rows(phase)
            if rows and phase.change.is_sure:
                parts.append("| operator | called from | before | after | change | calls |")
                parts.append("|---|---|--:|--:|--:|--:|")
                parts += ["| " + " | ".join(cell(v) for v in row.values()) + " |" for row in rows]
                parts.append("")
        parts += [f"- {cell(words)}" for words in case.also]
    return "\n".join(parts) + "\n"


def explanation_html(found: Sequence[Explained]) -> str:
    """Return one page that needs no network and no script."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["plain"] = printable
    return environment.get_template("explanation.html.j2").render(
        cases=[
            {
                "id": case.case,
                "phases": [
                    {
                        "name": phase.phase,
                        "sentence": phase.sentence,
                        "causes": _causes(phase),
                        "rows": _rows(phase),
                        "unexplained": f"{phase.change.unexplained:.0%}",
                        "sure": phase.change.is_sure,
                    }
                    for phase in case.phases
                ],
                "flames": _flames(case),
                "notes": [*case.also, *case.notes],
            }
            for case in found
        ]
    )


def _causes(phase: PhaseExplained) -> list[dict[str, str]]:
    return [
        {
            "share": f"{cause.share:.0%}",
            "words": cause.words,
            "blamed": blamed.words if blamed else "",
            "place": f"{blamed.file}:{blamed.line}" if blamed else "",
        }
        for cause, blamed in zip(phase.causes, phase.blamed, strict=True)
    ]


def _rows(phase: PhaseExplained) -> list[dict[str, str]]:
    least = _LEAST * phase.change.base_ns
    return [_row(change) for change in phase.change.changes if abs(change.ns) >= least][:_ROWS]


def _row(change: Change) -> dict[str, str]:
    before, after = change.calls
    unsure = "" if change.is_sure else " (not sure)"
    return {
        "operator": change.operator,
        "place": place_words(change.function, change.line),
        "before": _time(change.base_ns),
        "after": _time(change.base_ns + change.ns),
        "change": f"{'+' if change.ns > 0 else '−'}{_time(abs(change.ns))}{unsure}",
        "calls": number(after) if before == after else f"{number(before)} → {number(after)}",
    }


def _time(ns: float) -> str:
    return quantity(ns / 1e6, "ms")


def _flames(case: Explained) -> dict[str, Any] | None:
    from markupsafe import Markup

    from harness.profiling.flame import Look, differential

    if not case.base_stacks or not case.cand_stacks:
        return None
    title = f"what grew in {case.case}"
    wide, slim = (
        Markup(  # noqa: S704 - our own picture, whose names are escaped
            differential(
                case.base_stacks,
                case.cand_stacks,
                title,
                Look(width=width, titled=False, ink="var(--ink)", root="one iteration"),
            )
        )
        for width in (_WIDE, _SLIM)
    )
    return {"wide": wide, "slim": slim}
