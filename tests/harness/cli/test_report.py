import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli.report import write_report
from harness.errors import InputError, PluginError, StoreError
from harness.store import Run, Store

Command = Callable[..., Any]
Keep = Callable[..., Run]


def test_the_page_is_written_into_the_working_folder_and_named(
    keep: Keep, harness: Command, tmp_path: Path
) -> None:
    run = keep()

    assert harness("report").stdout.strip() == "report.html"
    assert run.id in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_several_runs_go_into_one_report(keep: Keep, harness: Command, tmp_path: Path) -> None:
    runs = [keep("20261124-041502-default-3f2a"), keep("20261125-041502-default-3f2b")]

    harness("report", "latest~1", "latest", "--format", "markdown", "-o", "both.md")

    text = (tmp_path / "both.md").read_text(encoding="utf-8")
    assert all(run.id in text for run in runs)


def test_a_name_without_a_suffix_gets_the_reports_own(keep: Keep, tmp_path: Path) -> None:
    assert write_report([keep()], "markdown", tmp_path / "out") == tmp_path / "out.md"


def test_open_shows_the_file_in_the_browser(
    keep: Keep, harness: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep()
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)

    harness("report", "--open")

    assert opened == [(tmp_path / "report.html").as_uri()]


def test_a_report_that_is_not_there_is_bad_input_with_the_nearest_name(
    keep: Keep, harness: Command
) -> None:
    keep()

    with pytest.raises(PluginError, match='did you mean "markdown"'):
        harness("report", "--format", "markdwn")


def test_a_folder_that_is_not_there_is_bad_input(keep: Keep, harness: Command) -> None:
    keep()

    with pytest.raises(StoreError, match="cannot be written: No such file"):
        harness("report", "-o", "no/such/folder/x.html")


def test_a_users_own_report_is_loaded_from_its_file(
    keep: Keep, harness: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness import plugins

    monkeypatch.setattr(plugins, "_from_files", {})
    keep()
    (tmp_path / "count.py").write_text(
        "from harness.contracts import Report\n"
        "class Count(Report):\n"
        "    summary, suffix = 'counts', '.txt'\n"
        "    def write(self, runs, path): path.write_text(str(len(runs)))\n"
    )

    harness("report", "--plugin", "count.py", "--format", "count")

    assert (tmp_path / "report.txt").read_text() == "1"


def test_an_empty_store_is_bad_input(store: Store, harness: Command) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        harness("report")


def test_compare_puts_the_base_first(keep: Keep, harness: Command, tmp_path: Path) -> None:
    keep("20261124-041502-default-3f2a")
    keep("20261125-041502-default-3f2b")

    harness("report", "latest", "--compare", "latest~1", "--format", "csv", "-o", "both.csv")

    lines = (tmp_path / "both.csv").read_text().splitlines()
    assert lines[1].startswith("20261124")
    assert lines[-1].startswith("20261125")


def test_a_run_held_to_itself_is_bad_input(keep: Keep, harness: Command) -> None:
    keep()

    with pytest.raises(InputError, match="names one run twice"):
        harness("report", "latest", "--compare", "latest")
