"""`harness baseline`: names for runs, to hold later ones against."""

import json as json_text
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from harness.cli.arguments import JsonOption, StoreOption
from harness.cli.complete import run_ids
from harness.cli.show import print_run
from harness.cli.table import stdout
from harness.shown import printable, quantity
from harness.store import Store
from harness.store.baselines import Baselines
from harness.store.folder import DEFAULT_ROOT

__all__ = ["baseline"]

baseline = typer.Typer(help="Name runs, to hold later ones against.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(help="Letters, digits, dots and dashes, e.g. main.")]


@baseline.command("set")
def set_(
    name: _Name,
    run: Annotated[
        str, typer.Argument(metavar="[RUN]", help="The run.", autocompletion=run_ids)
    ] = "latest",
    store: StoreOption = Path(DEFAULT_ROOT),
) -> None:
    """Point a name to a run; the run it pointed to before is remembered."""
    found = Baselines(Store(store)).set(name, run)
    typer.echo(f"{found.name} -> {found.run}")


@baseline.command("list")
def list_(json: JsonOption = False, store: StoreOption = Path(DEFAULT_ROOT)) -> None:
    """List the names and the runs they point to."""
    found = Baselines(Store(store)).all()
    if json:
        typer.echo(json_text.dumps([b.model_dump() for b in found], indent=1))
    elif not found:
        typer.echo("no baselines: harness baseline set NAME makes one of the latest run", err=True)
    else:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for column in ("name", "run", "set", "before"):
            table.add_column(column, overflow="fold")
        for each in found:
            before = str(len(each.earlier)) if each.earlier else ""
            row = (each.name, each.run, each.set_at[:16].replace("T", " "), before)
            table.add_row(*(Text(printable(cell)) for cell in row))
        stdout().print(table)


@baseline.command()
def show(name: _Name, json: JsonOption = False, store: StoreOption = Path(DEFAULT_ROOT)) -> None:
    """Show the run a name points to."""
    baselines = Baselines(Store(store))
    baselines.get(name)
    print_run(baselines.run(name), json_=json)


_Url = Annotated[str, typer.Argument(help="A path, s3://…, gs://…: what fsspec can open.")]


@baseline.command()
def push(name: _Name, url: _Url, store: StoreOption = Path(DEFAULT_ROOT)) -> None:
    """Write a baseline and its run to one file elsewhere."""
    from harness.store.remote import push as write

    size = write(Store(store), name, url)
    typer.echo(f"{name} -> {url}, {quantity(size, 'bytes')}")


@baseline.command()
def pull(name: _Name, url: _Url, store: StoreOption = Path(DEFAULT_ROOT)) -> None:
    """Read what push wrote, and point a name to its run."""
    from harness.store.remote import pull as read

    found = read(Store(store), name, url)
    typer.echo(f"{found.name} -> {found.run}")


@baseline.command()
def rm(name: _Name, store: StoreOption = Path(DEFAULT_ROOT)) -> None:
    """Forget a name; its run stays."""
    gone = Baselines(Store(store)).remove(name)
    typer.echo(f"{gone.name} is forgotten; its run {gone.run} stays")
