"""`harness history`: a metric over the store's runs, with the changes of level named."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from harness.cli.arguments import JsonOption, StoreOption
from harness.cli.table import stdout
from harness.errors import InputError, did_you_mean
from harness.shown import printable, quantity
from harness.store.folder import DEFAULT_ROOT

if TYPE_CHECKING:
    from harness.gate.history import Change, History

__all__ = ["history"]

_BARS = "▁▂▃▄▅▆▇█"
_MOST = 60


def history(
    metric: Annotated[str, typer.Argument(help="e.g. itl_ms; harness list metrics names them.")],
    case: Annotated[
        str, typer.Option(metavar="GLOB", help="Cases to look at, with * and ?.")
    ] = "*",
    json: JsonOption = False,
    store: StoreOption = Path(DEFAULT_ROOT),
) -> None:
    """Show a metric over runs; each change of level names the runs and revisions either side."""
    from harness.gate.history import histories
    from harness.store import Run, Store

    records = [run.record for run in Store(store).runs() if isinstance(run, Run)]
    known = sorted({m.name for record in records for m in record.metrics})
    if metric not in known:
        raise InputError(
            f'no run has a metric "{metric}"',
            where=str(store),
            expected=f"one of {', '.join(known)}" if known else None,
            remedy=did_you_mean(metric, known).rstrip() or None,
        )
    found = histories(records, metric, case)
    if json:
        rows = [each.model_dump(mode="json") for each in found]
        typer.echo(json_text.dumps(rows, indent=1))
        return
    if not found:
        raise InputError(f'no case is like "{case}"', expected="e.g. '*latency*'")
    for each in found:
        _print(each)


def _print(found: History) -> None:
    console = stdout()
    unit = found.metric.unit
    values = [moment.value for moment in found.moments]
    name = " ".join(filter(None, [found.case, found.point]))
    console.print(Text(printable(name), style="bold cyan"))
    cut = "…" if len(values) > _MOST else ""
    console.print(
        f"  {cut}{_spark(values[-_MOST:])}  {quantity(values[0], unit)} -> "
        f"{quantity(values[-1], unit)}, {len(values)} run{'s' if len(values) > 1 else ''}",
        soft_wrap=True,
    )
    for change in found.changes:
        style = {True: "green", False: "bold red", None: ""}[change.better]
        for line in _words(change, unit):
            console.print(Text(f"  {printable(line)}", style=style), soft_wrap=True)
    if not found.changes:
        few = ", six runs or more are needed to see one" if len(values) < 6 else ""
        console.print(Text(f"  no change of level{few}", style="dim"))


def _words(change: Change, unit: str) -> list[str]:
    ratio = f" ({100 * (change.ratio - 1):+.1f} %)" if change.ratio is not None else ""
    sides = [
        f"{m.run}{f' at {m.revision[:12]}' if m.revision else ''}"
        for m in (change.before, change.after)
    ]
    levels = f"{quantity(change.level_before, unit)} -> {quantity(change.level_after, unit)}{ratio}"
    between = f"between {sides[0]} and {sides[1]}, p = {change.p_value:.2g}"
    differences = [f"  differs as well: {d.words()}" for d in change.differences]
    return [f"{levels} {between}", *differences]


def _spark(values: list[float]) -> str:
    low, high = min(values), max(values)
    if low == high:
        return _BARS[3] * len(values)
    return "".join(_BARS[round((v - low) / (high - low) * (len(_BARS) - 1))] for v in values)
