"""A run as the site keeps it: small, plain, and all that its pages are made of.

It must not know any page. The documents are shipped as `data/runs/ID.json`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.shown import printable
from harness.store.answer import answers, labels, tokens_words
from harness.store.record import CaseRecord, RunRecord
from harness.store.run import Run
from harness.store.simulated import refuse_simulated
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

__all__ = ["SCHEMA", "document", "dumped", "extract", "slug"]

SCHEMA = 2
"""Of the site's JSON; raised when a field changes its meaning."""


def extract(path: str) -> dict[str, Any]:
    """Read the run in a folder; a damaged or simulated one becomes a document that says so."""
    try:
        record = Run(Path(path)).record
        refuse_simulated(record, "figures of a site")
        return document(record, Path(path).name)
    except InputError as error:
        name = Path(path).name
        return {
            "schema": SCHEMA,
            "id": name,
            "suite": None,
            "broken": printable(error),
            "cases": [],
        }


def document(record: RunRecord, name: str) -> dict[str, Any]:
    """Return a run as plain JSON values; all text is printable, none of it is escaped.

    The run is called by its folder's name: what its record says could be any path.
    """
    names = labels(record)
    machine = environment_words(record)
    return {
        "schema": SCHEMA,
        "id": name,
        "broken": None,
        "suite": printable(record.suite, 80),
        "created_at": record.created_at,
        "status": record.status,
        "what": printable(run_words(record)),
        "answers": [printable(sentence, 600) for sentence in answers(record)],
        "tokens": printable(tokens_words(record)),
        "machine": printable(_machine(record)),
        "where": printable(machine),
        "revision": _revision(record.environment),
        "code": _code(record.environment),
        "duet": record.duet is not None,
        "margin": _margin(record),
        "marks": list(dict.fromkeys(m for c in record.cases for m in marks_of(c, record))),
        "cases": [_case(case, record, printable(names[case.id], 80)) for case in record.cases],
    }


def slug(name: str) -> str:
    """Return a file name for any text: readable, unique, harmless."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:60]
    return f"{readable}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def _case(case: CaseRecord, record: RunRecord, label: str) -> dict[str, Any]:
    return {
        "id": printable(case.id),
        "slug": slug(case.id),
        "label": label,
        "model": printable(case.model),
        "backend": printable(case.backend, 80),
        "scenario": printable(case.scenario, 80),
        # What must be the same for figures to be comparable.
        "kind": slug(f"{case.model_digest} {case.scenario_version} {case.scenario_options}"),
        "status": case.status,
        "marks": marks_of(case, record),
        "check": printable(check_words(case)) if case.status == "done" else None,
        "why": printable(why_no_figures(case) or "", 600) or None,
        "cautions": [printable(caution_words(c), 600) for c in cautions_of(case)],
        "figures": [
            {
                "metric": printable(line.metric.name, 80),
                "point": printable(line.point, 80),
                "statistic": line.headline.statistic,
                "unit": printable(line.metric.unit, 40),
                "better": line.metric.better,
                "primary": line.metric.primary,
                "shown": line.value,
                "share": line.share,
                **line.headline.reading.model_dump(
                    include={"value", "low", "high", "n", "processes", "reason", "no_interval"},
                    exclude_none=True,
                ),
            }
            for line in lines(case, record, rates=True)
        ],
    }


def _machine(record: RunRecord) -> str:
    """Name the machine without its software, so that an upgrade does not make it another one."""
    parts = environment_words(record).split(", ")
    machine = ", ".join(p for p in parts if not p.startswith(("torch ", "harness ")))
    return machine or "unknown machine"


def _revision(environment: Mapping[str, Any]) -> str | None:
    git = environment.get("git")
    found = git.get("revision") if isinstance(git, Mapping) else None
    return printable(found[:12]) if isinstance(found, str) else None


def _code(environment: Mapping[str, Any]) -> str | None:
    """Name the code that was run; None where it is not known, or had uncommitted changes."""
    git = environment.get("git")
    if not isinstance(git, Mapping) or git.get("dirty") is not False:
        return None
    found = git.get("revision")
    return printable(found) if isinstance(found, str) else None


def _margin(record: RunRecord) -> float:
    gate = record.suite_resolved.get("gate")
    margin = gate.get("margin") if isinstance(gate, Mapping) else None
    return float(margin) if isinstance(margin, int | float) else 0.03


def dumped(value: Any) -> str:
    """Return JSON whose bytes depend on nothing but the value."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
