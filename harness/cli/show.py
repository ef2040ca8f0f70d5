"""`harness show`: a run as a table, or as the record it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.arguments import JsonOption, RunArgument, StoreOption
from harness.cli.table import run_table, stdout
from harness.errors import InputError, did_you_mean
from harness.store import Run, Store
from harness.store.folder import DEFAULT_ROOT
from harness.store.migrate import dump_record

__all__ = ["print_run", "show"]


def show(
    run: RunArgument = "latest",
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="Show this metric only; repeatable.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Show every statistic with its interval.")
    ] = False,
    json: JsonOption = False,
    store: StoreOption = Path(DEFAULT_ROOT),
) -> None:
    """Show what a run found: figures, their spread, MBU and MFU, checks and cautions."""
    found = Store(store).find(run)
    _require_metrics(found, metric or [])
    print_run(found, only=metric or (), everything=everything, json_=json)


def print_run(
    run: Run, *, only: Sequence[str] = (), everything: bool = False, json_: bool = False
) -> None:
    """Print a run as a table, or as the JSON of its record."""
    if json_:
        typer.echo(dump_record(run.record), nl=False)
    else:
        stdout().print(run_table(run, only=only, everything=everything))


def _require_metrics(run: Run, wanted: list[str]) -> None:
    known = [metric.name for metric in run.record.metrics]
    for name in wanted:
        if name not in known:
            raise InputError(
                f'run {run.id} has no metric "{name}"',
                expected=f"one of {', '.join(known)}",
                remedy=did_you_mean(name, known).rstrip() or None,
            )
