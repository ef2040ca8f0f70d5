"""`harness site`: a store as pages that any web server, or GitHub Pages, can serve."""

from pathlib import Path
from typing import Annotated

import typer

from harness.contracts import Site
from harness.errors import InputError
from harness.plugins import find
from harness.store import Store
from harness.store.folder import DEFAULT_ROOT

__all__ = ["site"]


def site(
    store: Annotated[
        Path,
        typer.Argument(
            metavar="[STORE]", help="The store whose runs are shown.", envvar="HARNESS_STORE"
        ),
    ] = Path(DEFAULT_ROOT),
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to bring up to date.")
    ] = Path("site"),
    url: Annotated[
        str | None,
        typer.Option(
            "--url", help="Where it will be served; gives feed and sitemap whole addresses."
        ),
    ] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="A site plugin.")] = "static",  # noqa: A002 - the option's name
) -> None:
    """Build pages of all runs: history, comparison, data, feed, badges. Reads what changed."""
    found = Store(store)
    ids = found.ids()
    if not ids:
        raise InputError(
            "holds no run", where=str(found.root), remedy="harness run makes one; name its store"
        )
    if url is not None and not url.startswith(("https://", "http://")):
        raise InputError(f'"{url}" is no address', where="--url", expected="https://…")
    read = find(Site, format).build(found, output, url=url)
    typer.echo(f"{output / 'index.html'}  ({len(ids)} runs, {read} read anew)")
