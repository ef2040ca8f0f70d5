"""A case over its runs: the rows that a case's page, the feed and the badges are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Change", "changes", "rows_of"]

_OF_RUN = ("created_at", "revision", "machine", "margin")
_OF_CASE = ("marks", "status", "kind")
_OF_FIGURE = (
    "metric", "point", "unit", "better", "statistic", "shown", "value", "low", "high", "n",
    "processes",
)  # fmt: skip
_MOVED = {"regression": True, "improvement": False}


@dataclass(frozen=True)
class Change:
    """What the gate called a regression or an improvement beside the run before."""

    case: str
    slug: str
    metric: str
    """Empty where the case as a whole is meant."""
    point: str
    worse: bool
    row: Mapping[str, Any]
    """Of the later run; what it is held against stands in `against`, `base`, `ratio`."""


def rows_of(run: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], dict[str, Any]]]:
    """Yield (case, row) per primary figure of a run, with what the gate says of it.

    A case without figures yields one row; so does a verdict on anything but a figure, say tokens
    that are other ones than before.
    """
    against = run.get("against") or {"rows": []}
    said: dict[tuple[str, str, str], Mapping[str, Any]] = {
        (row["slug"], row["metric"], row["point"]): row for row in against["rows"]
    }
    for case in run["cases"]:
        common = {"run": run["id"]} | {name: run[name] for name in _OF_RUN}
        common |= {name: case[name] for name in _OF_CASE}
        primary = [f for f in case["figures"] if f["primary"]]
        for figure in primary:
            row = common | {name: figure[name] for name in _OF_FIGURE if name in figure}
            verdict = said.pop((case["slug"], figure["metric"], figure["point"]), None)
            yield case, row | (_verdict(verdict, against) if verdict else {})
        rest = [said.pop(key) for key in list(said) if key[0] == case["slug"]]
        for other in rest:
            name = {"metric": other["metric"], "point": other["point"]}
            yield case, common | name | {"why": other["reason"]} | _verdict(other, against)
        if not primary and not rest:
            yield case, common | {"why": case["why"]}


def _verdict(row: Mapping[str, Any], against: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row keeps of a verdict; all of it only where something changed."""
    named = {"ratio": "ratio", "low": "ratio_low", "high": "ratio_high", "base": "base"}
    found = {ours: row[theirs] for theirs, ours in named.items() if theirs in row}
    found["verdict"] = row["verdict"]
    if row["verdict"] in _MOVED:
        found["reason"] = row["reason"]
        found["against"] = {name: against[name] for name in ("run", "created_at", "revision")}
    return found


def changes(case_id: str, slug: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[Change]:
    """Yield the changes of a case, oldest first."""
    for row in rows:
        verdict = row.get("verdict", "")
        if verdict in _MOVED:
            metric, point = row.get("metric", ""), row.get("point", "")
            yield Change(case_id, slug, metric, point, _MOVED[verdict], row)
