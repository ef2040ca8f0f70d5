"""Arguments that several verbs share, each declared once."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.complete import run_ids
from harness.store.folder import DEFAULT_ROOT

__all__ = [
    "JsonOption",
    "PluginOption",
    "RunArgument",
    "StoreOption",
]


RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="[RUN]",
        help="Id, a unique beginning of it, latest, latest~1, or a path.",
        autocompletion=run_ids,
        show_default="latest",
    ),
]
StoreOption = Annotated[
    Path,
    typer.Option(
        "--store", envvar="HARNESS_STORE", metavar="DIR", help="Folder of runs.",
        show_default=DEFAULT_ROOT,
    ),
]  # fmt: skip
PluginOption = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="Load plugins from a Python file of yours."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
