"""`harness report`: runs as a page or a table to hand on, through the report plugins."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.arguments import PluginOption, StoreOption
from harness.cli.complete import report_names, run_ids
from harness.contracts import Report
from harness.errors import InputError, StoreError
from harness.plugins import add_file, find
from harness.store import Run, Store
from harness.store.folder import DEFAULT_ROOT

__all__ = ["report", "write_report"]


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Ids, latest, latest~1, or paths; the latest where none is given.",
            autocompletion=run_ids,
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        str,
        typer.Option("--format", "-f", help="A report plugin.", autocompletion=report_names),
    ] = "html",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="By default report with its suffix."),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            "--compare",
            metavar="BASE",
            help="A run to hold the others to; it stands first.",
            autocompletion=run_ids,
        ),
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    store: StoreOption = Path(DEFAULT_ROOT),
    plugin: PluginOption = None,
) -> None:
    """Write a report of one or several runs and say where it is."""
    for file in plugin or []:
        add_file(file)
    names = [*([compare] if compare else []), *(runs or ["latest"])]
    chosen = [Store(store).find(run) for run in names]
    if len({run.id for run in chosen}) < len(chosen):
        raise InputError("names one run twice", where=" ".join(names), expected="different runs")
    path = write_report(chosen, format, output)
    typer.echo(str(path))
    if open_it:
        webbrowser.open(path.resolve().as_uri())


def write_report(runs: list[Run], name: str, output: Path | None = None) -> Path:
    """Write a report through the plugin called `name`; return the file.

    `output` without a suffix gets the report's own.

    Raises:
        PluginError: where there is no such report.
        StoreError: where the file cannot be written.
    """
    plugin = find(Report, name)
    path = output or Path("report")
    path = path if path.suffix else path.with_suffix(plugin.suffix)
    try:
        plugin.write(runs, path)
    except OSError as error:
        raise StoreError(
            f"cannot be written: {error.strerror}", where=str(path), remedy="name a file with -o"
        ) from error
    return path
