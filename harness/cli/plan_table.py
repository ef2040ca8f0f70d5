"""`harness run --dry-run`: the cases, and an estimate of the time and memory they will take."""

from __future__ import annotations

import json
from typing import TypedDict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.engine.case import Case
from harness.engine.plan import Plan
from harness.engine.schedule import WORKER_SECONDS

__all__ = ["print_plan"]


def print_plan(plan: Plan, *, json_: bool) -> None:
    """Print what a run would do."""
    rows = [_row(plan, case) for case in plan.cases]
    seconds = sum(r["seconds_at_most"] for r in rows)
    budget = plan.suite.run.budget
    if budget is not None:
        seconds = min(seconds, budget)
    if json_:
        print(json.dumps({"cases": rows, "seconds_at_most": seconds}))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("case", "rounds", "points", "memory", "at most"):
        table.add_column(name, justify="left" if name == "case" else "right", overflow="fold")
    for row in rows:
        why = f"\n  [dim]unavailable: {escape(row['unavailable'])}[/]" if row["unavailable"] else ""
        table.add_row(
            escape(row["case"]) + why,
            str(row["rounds"]),
            str(row["points"]),
            f"{row['peak_bytes'] / 2**20:,.0f} MiB",
            f"{row['seconds_at_most']:.0f} s",
        )
    console = Console()
    console.print(table)
    minutes, rest = divmod(round(seconds), 60)
    console.print(
        f"{plan.visits} workers, at most about {minutes}:{rest:02d} min; memory is weights and "
        "KV cache of the largest point",
        highlight=False,
    )


class _Row(TypedDict):
    case: str
    rounds: int
    points: int
    peak_bytes: int
    seconds_at_most: float
    unavailable: str | None


def _row(plan: Plan, case: Case) -> _Row:
    points = plan.points[case.id]
    sampling = len([p for p in points if not p.once]) * plan.suite.run.max_seconds
    visits = 0 if case.unavailable else case.rounds
    return {
        "case": case.id,
        "rounds": visits,
        "points": len(points),
        "peak_bytes": plan.peak_bytes(case),
        "seconds_at_most": visits * (WORKER_SECONDS + sampling),
        "unavailable": case.unavailable,
    }
