import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.errors import StoreError
from harness.store import Run
from harness.testing.runs import example_record

Command = Callable[..., Any]
Keep = Callable[..., Run]


def test_csv_has_a_row_per_statistic_and_empty_cells_for_what_is_absent(
    keep: Keep, harness: Command
) -> None:
    run = keep()

    rows = list(csv.DictReader(io.StringIO(harness("export", "--format", "csv").stdout)))

    assert [row["metric"] for row in rows] == list(run.figures["metric"])
    absent = [row for row in rows if row["reason"]]
    assert absent
    assert all(row["value"] == "" for row in absent)


def test_json_carries_the_definitions_with_the_figures(keep: Keep, harness: Command) -> None:
    run = keep()

    data = json.loads(harness("export", run.id, "--format", "json").stdout)

    assert data["run"] == run.id
    assert {m["name"] for m in data["metrics"]} == {m.name for m in run.record.metrics}
    assert len(data["figures"]) == len(run.figures)


def test_parquet_figures_are_the_frame_of_the_run(
    keep: Keep, harness: Command, tmp_path: Path
) -> None:
    run = keep()

    harness("export", "--format", "parquet", "-o", "figures.parquet")

    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "figures.parquet"), run.figures)


@pytest.mark.parametrize("format_", ["csv", "json", "parquet"])
def test_samples_are_the_same_in_every_format(
    keep: Keep, harness: Command, tmp_path: Path, format_: str
) -> None:
    run = keep()

    harness("export", "--format", format_, "--table", "samples", "-o", f"samples.{format_}")

    path = tmp_path / f"samples.{format_}"
    if format_ == "json":
        read = pd.DataFrame(json.loads(path.read_text())["samples"])
    else:
        read = pd.read_csv(path) if format_ == "csv" else pd.read_parquet(path)
    assert list(read.columns) == list(run.samples.columns)
    assert list(read["value"]) == list(run.samples["value"])
    assert list(read["metric"]) == list(run.samples["metric"])


def test_parquet_goes_through_a_pipe_byte_for_byte(keep: Keep, harness: Command) -> None:
    keep()

    data = harness("export", "--format", "parquet").stdout_bytes

    assert len(pd.read_parquet(io.BytesIO(data))) > 0


def test_a_name_that_a_spreadsheet_would_run_is_defused(keep: Keep, harness: Command) -> None:
    record = example_record()
    record.cases[0].id = '=HYPERLINK("http://x")'
    keep(cases=record.cases)

    rows = list(csv.DictReader(io.StringIO(harness("export").stdout)))

    assert rows[0]["case"] == '\'=HYPERLINK("http://x")'
    assert float(rows[0]["value"]) > 0


def test_a_file_that_cannot_be_written_is_bad_input(keep: Keep, harness: Command) -> None:
    keep()

    with pytest.raises(StoreError, match="cannot be written"):
        harness("export", "-o", "no/such/folder/x.csv")


def test_an_unknown_format_is_bad_input(keep: Keep, harness: Command) -> None:
    keep()

    assert harness("export", "--format", "xml").exit_code == 2
