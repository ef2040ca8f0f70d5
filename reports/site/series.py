"""A case over its runs: the rows that a case's page, the feed and the badges are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.reading import Reading
from harness.store.answer import quotient

__all__ = ["Change", "changes", "rows_of"]

KEY = ("metric", "point")


@dataclass(frozen=True)
class Change:
    """A figure that moved beyond its margin from one run to the next comparable one."""

    case: str
    slug: str
    metric: str
    point: str
    unit: str
    before: Mapping[str, Any]
    """Row of the earlier run."""
    after: Mapping[str, Any]
    """Row of the later run."""
    ratio: Reading
    worse: bool


def rows_of(run: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], dict[str, Any]]]:
    """Yield (case, row) per primary figure of a run; a case without figures yields one row."""
    for case in run["cases"]:
        common = {
            "run": run["id"],
            "created_at": run["created_at"],
            "revision": run["revision"],
            "machine": run["machine"],
            "margin": run["margin"],
            "marks": case["marks"],
            "status": case["status"],
            "kind": case["kind"],
        }
        primary = [f for f in case["figures"] if f["primary"]]
        for figure in primary:
            names = (
                "metric",
                "point",
                "unit",
                "better",
                "statistic",
                "shown",
                "value",
                "low",
                "high",
                "n",
                "processes",
            )
            yield case, common | {name: figure[name] for name in names if name in figure}
        if not primary:
            yield case, common | {"why": case["why"]}


def changes(case_id: str, slug: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[Change]:
    """Yield the changes of a case, oldest first: comparable runs in a row, beyond the margin."""
    last: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in rows:
        if row.get("value") is None:
            continue
        key = tuple(row[name] for name in (*KEY, "kind", "machine"))
        before = last.get(key)
        last[key] = row
        if before is None:
            continue
        ratio = quotient(_reading(row), _reading(before))
        if ratio.value is None or abs(ratio.value - 1) <= row["margin"]:
            continue
        exact = row["statistic"] == "once"
        if not exact and (ratio.low is None or ratio.high is None or ratio.low <= 1 <= ratio.high):
            continue
        worse = (ratio.value > 1) == (row["better"] == "lower")
        yield Change(
            case_id, slug, row["metric"], row["point"], row["unit"], before, row, ratio, worse
        )


def _reading(row: Mapping[str, Any]) -> Reading:
    return Reading(value=row["value"], low=row.get("low"), high=row.get("high"))
