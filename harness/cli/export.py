"""`harness export`: a run's figures or samples for other tools."""

import csv
import io
import json as json_text
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.arguments import RunArgument, StoreOption
from harness.cli.openmetrics import openmetrics
from harness.errors import InputError
from harness.store import Run, Store
from harness.store.durable import write_durably
from harness.store.folder import DEFAULT_ROOT
from harness.store.migrate import plain
from harness.store.run import figure_rows
from harness.store.samples import parquet_bytes
from harness.store.simulated import refuse_simulated

__all__ = ["Content", "Format", "export"]


class Format(StrEnum):
    """What other tools read."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"
    PYTEST_BENCHMARK = "pytest-benchmark"
    OPENMETRICS = "openmetrics"
    TENSORBOARD = "tensorboard"


class Content(StrEnum):
    """Which table of the run."""

    FIGURES = "figures"
    SAMPLES = "samples"


def export(
    run: RunArgument = "latest",
    format: Annotated[Format, typer.Option("--format", "-f", help="File format.")] = Format.CSV,  # noqa: A002 - the option's name
    content: Annotated[
        Content, typer.Option("--table", "-t", help="Figures with intervals, or every sample.")
    ] = Content.FIGURES,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to; - is standard output. A folder for tensorboard.",
        ),
    ] = "-",
    store: StoreOption = Path(DEFAULT_ROOT),
) -> None:
    """Write a run's figures or samples as CSV, JSON, Parquet or another tool's format."""
    found = Store(store).find(run)
    if format is not Format.JSON:  # the only one with a place for the mark
        remedy = "harness export --format json holds what was simulated"
        refuse_simulated(found.record, "another tool's figures", remedy)
    if format is Format.TENSORBOARD:
        _tensorboard(found, output)
        return
    if output == "-" and format is Format.PARQUET and sys.stdout.isatty():
        raise InputError("Parquet is not for a terminal", remedy="name a file with -o FILE")
    data = _encoded(found, format, content)
    if output == "-":
        typer.echo(data, nl=False)
    else:
        write_durably(Path(output), data)


def _tensorboard(run: Run, output: str) -> None:
    from harness.bridges import to_tensorboard

    if output == "-":
        raise InputError("TensorBoard reads a folder", remedy="name one with -o DIR")
    files = to_tensorboard(run, Path(output))
    typer.echo(f"{files[0].parent}  ({len(files)} files; tensorboard --logdir {output})")


def _encoded(run: Run, format: Format, content: Content) -> bytes:  # noqa: A002 - as above
    if format is Format.PYTEST_BENCHMARK:
        from harness.bridges import to_pytest_benchmark

        return to_pytest_benchmark(run)
    if format is Format.OPENMETRICS:
        if content is Content.SAMPLES:
            raise InputError(
                "OpenMetrics has no place for samples", remedy="leave out --table, or use parquet"
            )
        return openmetrics(run.record).encode("utf-8", "replace")
    if format is Format.PARQUET:
        return parquet_bytes(run.table if content is Content.SAMPLES else _figure_table(run))
    rows = figure_rows(run.record) if content is Content.FIGURES else run.table.to_pylist()
    if format is Format.CSV:
        return _csv(rows, list(rows[0]) if rows else run.table.column_names)
    document = {
        "run": run.id,
        "suite": run.record.suite,
        "created_at": run.record.created_at,
        "harness_version": run.record.harness_version,
        "simulated": run.record.simulated,
        "metrics": [metric.model_dump(mode="json") for metric in run.record.metrics],
        content.value: rows,
    }
    return json_text.dumps(plain(document), indent=1).encode() + b"\n"


def _figure_table(run: Run) -> Any:
    import pyarrow as pa

    return pa.Table.from_pandas(run.figures, preserve_index=False)


def _csv(rows: list[dict[str, Any]], columns: list[str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_cell(row[name]) for name in columns] for row in rows])
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets an apostrophe; nothing else changes."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
