"""`harness import`: other tools' results as a run of the store, to gate, show and report."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.arguments import StoreOption
from harness.store.folder import DEFAULT_ROOT

__all__ = ["Tool", "importing"]


class Tool(StrEnum):
    """Whose files are read."""

    PYTEST_BENCHMARK = "pytest-benchmark"
    HYPERFINE = "hyperfine"
    ASV = "asv"


def importing(
    tool: Annotated[Tool, typer.Argument(help="Whose files these are.", show_default=False)],
    files: Annotated[
        list[Path], typer.Argument(help="JSON, one file per process.", show_default=False)
    ],
    suite: Annotated[
        str | None, typer.Option(help="Name of the run's suite.", show_default="the tool's")
    ] = None,
    store: StoreOption = Path(DEFAULT_ROOT),
) -> None:
    """Store other tools' results as a run; several files are several processes of one run."""
    from harness.bridges import read_files
    from harness.store import Store

    record, samples = read_files(files, tool.value, suite)
    with Store(store).create(record) as writer:
        for case in record.cases:
            for each in case.rounds:
                writer.add_round(case.id, each, samples.get((case.id, each.round), []))
        writer.finish(record)
    typer.echo(record.id)
