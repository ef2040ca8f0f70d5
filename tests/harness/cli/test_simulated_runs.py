"""Given a run with a simulated sensor, every way out of the store says so in red or refuses it."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.cli.table import run_table
from harness.errors import InputError
from harness.store import Run

Command = Callable[..., Any]

SENSOR = "NVML (driver 550.54.15-nvmlsim)"
REAL, FAKE = "20261124-041502-default-3f2a", "20261124-051502-default-77aa"
ALARM = f"Simulated, no measurement: {SENSOR}. Do not publish these figures"


@pytest.fixture
def run(keep: Callable[..., Run]) -> Run:
    """The latest run, simulated, beside a real one."""
    keep(REAL)
    return keep(FAKE, created_at="2026-11-24T05:15:02+00:00", simulated=SENSOR)


def test_the_terminal_says_it_in_red(run: Run) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=100)

    console.print(run_table(run))

    assert f"\x1b[1;31m{ALARM}\x1b[0m" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_page_says_it_in_red_above_the_answer_and_beside_every_case(
    run: Run, harness: Command, tmp_path: Path
) -> None:
    del run
    harness("report", "-o", "report.html")

    page = (tmp_path / "report.html").read_text(encoding="utf-8")

    alarm = f'<p class="alarm" role="alert"><bdi>{ALARM}.</bdi></p>'
    assert page.index(alarm) < page.index("<h1>")
    assert ".alarm { color: var(--bad)" in page
    assert page.count('<strong class="mark">simulated</strong>') == 1 + 6  # the run and its cases


def test_markdown_says_it_as_an_alert_before_the_answer(
    run: Run, harness: Command, tmp_path: Path
) -> None:
    del run
    harness("report", "--format", "markdown", "-o", "report.md")

    first, second, *_ = (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()

    assert first == "> [!CAUTION]"
    assert second.startswith("> Simulated, no measurement: NVML")


def test_a_notebook_says_it_in_its_first_cell(run: Run, harness: Command, tmp_path: Path) -> None:
    del run
    harness("report", "--format", "notebook", "-o", "report.ipynb")

    first = json.loads((tmp_path / "report.ipynb").read_text(encoding="utf-8"))["cells"][0]

    assert "color: #b3261e" in "".join(first["source"])
    assert "Simulated, no measurement" in "".join(first["source"])


def test_json_holds_what_was_simulated(run: Run, harness: Command) -> None:
    del run
    assert json.loads(harness("show", "--json").stdout)["simulated"] == SENSOR
    assert json.loads(harness("export", "--format", "json").stdout)["simulated"] == SENSOR


@pytest.mark.parametrize("format_", ["csv", "parquet", "pytest-benchmark", "openmetrics"])
def test_formats_without_a_place_for_the_mark_refuse_it(
    run: Run, harness: Command, format_: str
) -> None:
    del run
    with pytest.raises(InputError, match=r"simulated sensor, NVML.*--format json"):
        harness("export", "--format", format_, "-o", "out")


@pytest.mark.parametrize(
    "command", [("baseline", "set", "main"), ("compare", REAL, FAKE), ("gate", "--baseline", REAL)]
)
def test_it_is_no_baseline_and_no_side_of_a_comparison(
    run: Run, harness: Command, command: tuple[str, ...]
) -> None:
    del run
    with pytest.raises(InputError, match=rf"run {FAKE}: was taken with a simulated sensor"):
        harness(*command)


def test_a_site_says_that_it_was_left_out_and_shows_none_of_its_figures(
    run: Run, harness: Command, tmp_path: Path
) -> None:
    harness("site")
    site = tmp_path / "site"

    data = json.loads((site / "data" / "runs" / f"{run.id}.json").read_text())
    assert "simulated sensor, NVML" in data["broken"]
    assert data["cases"] == []
    assert f"<bdi>run {run.id}: was taken" in (site / "runs" / f"{run.id}.html").read_text()
    histories = [json.loads(f.read_text()) for f in (site / "data" / "cases").glob("*.json")]
    assert {row["run"] for case in histories for row in case["rows"]} == {REAL}


def test_history_leaves_it_out(run: Run, harness: Command) -> None:
    del run
    (one, *_) = json.loads(harness("history", "itl_ms", "--json").stdout)

    assert [moment["run"] for moment in one["moments"]] == [REAL]
