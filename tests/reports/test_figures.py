import csv
import json
from collections.abc import Callable
from pathlib import Path

from harness.store import Run
from harness.testing.runs import example_record
from reports.figures import CsvReport, JsonReport
from reports.notebook import NotebookReport

Stored = Callable[..., Run]


def test_csv_has_a_row_per_statistic_of_every_run_and_its_marks(
    stored: Stored, tmp_path: Path
) -> None:
    second = example_record(run_id="20261125-041502-default-aaaa")
    second.resumed_at = ["2026-11-25T05:00:00+00:00"]
    CsvReport().write([stored(), stored(second)], tmp_path / "f.csv")

    with (tmp_path / "f.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    itl = [r for r in rows if r["metric"] == "itl_ms" and r["statistic"] == "p50"]
    assert [r["run"][:8] for r in itl] == ["20261124"] * 2 + ["20261125"] * 2
    assert float(itl[0]["value"]) == 27.4
    assert {r["marks"] for r in rows if r["run"] == second.id} == {"resumed"}


def test_csv_holds_nothing_that_a_spreadsheet_would_run(stored: Stored, tmp_path: Path) -> None:
    record = example_record()
    record.cases[0].backend = "=cmd()"
    CsvReport().write([stored(record)], tmp_path / "f.csv")

    assert "'=cmd()" in (tmp_path / "f.csv").read_text()


def test_json_has_the_answers_figures_cautions_and_definitions(
    stored: Stored, tmp_path: Path
) -> None:
    JsonReport().write([stored()], tmp_path / "f.json")

    (run,) = json.loads((tmp_path / "f.json").read_text())["runs"]
    assert "1.78× [1.75, 1.81] faster" in run["answers"][0]
    assert any(figure["value"] == 27.4 for figure in run["figures"])
    assert run["cautions"][0]["kind"] == "others-load"
    assert {metric["name"] for metric in run["metrics"]} >= {"itl_ms", "ttft_ms"}


def test_a_notebook_draws_every_chart_again_and_shows_it_already(
    stored: Stored, tmp_path: Path
) -> None:
    NotebookReport().write([stored()], tmp_path / "r.ipynb")

    notebook = json.loads((tmp_path / "r.ipynb").read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    drawn = [cell for cell in code if cell["outputs"]]
    assert len(drawn) > 3
    assert all("image/png" in cell["outputs"][0]["data"] for cell in drawn)
    names: dict[str, object] = {}
    for cell in code[:1] + drawn[:1]:
        exec("".join(cell["source"]), names)  # the cells are ours
    assert not names["data"].empty  # type: ignore[attr-defined]
