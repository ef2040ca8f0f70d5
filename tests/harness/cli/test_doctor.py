import json
import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from harness.cli.doctor import doctor
from harness.errors import PluginError

app = typer.Typer()
app.command()(doctor)


def _rows(*arguments: str) -> dict[str, dict[str, str | None]]:
    result = CliRunner().invoke(app, ["--json", *arguments])
    assert result.exit_code == 0, result.output
    findings = json.loads(result.stdout)["findings"]
    return {finding["check"]: finding for finding in findings}


@pytest.fixture
def backend_file(tmp_path: Path) -> Path:
    path = tmp_path / "flaky.py"
    path.write_text(
        "from harness.contracts import Availability, Backend\n"
        "class Flaky(Backend):\n"
        "    name = 'flaky'\n"
        "    summary = 'for a test'\n"
        "    def availability(self, device):\n"
        "        if device == 'cuda':\n"
        "            raise OSError('libflaky.so is not there')\n"
        "        return Availability.no('needs [red]a licence[/]', 'pip install licence')\n"
        "    def load(self, model, device, options):\n"
        "        raise NotImplementedError\n"
    )
    return path


def test_every_row_is_ok_noted_or_missing_and_says_what_was_seen():
    for check, row in _rows().items():
        assert row["status"] in ("ok", "note", "missing"), check
        assert row["finding"], check


def test_it_covers_machine_software_and_store():
    wanted = {"Python", "torch", "usable cores", "CPU quota", "swap", "clock", "store", "py-spy"}
    assert wanted <= set(_rows())


def test_torch_is_the_one_that_runs():
    import torch

    assert str(torch.__version__) in str(_rows()["torch"]["finding"])


def test_a_backend_that_cannot_run_comes_with_its_reason_and_remedy(backend_file):
    rows = _rows("--plugin", str(backend_file))
    assert rows["flaky on cpu"]["status"] == "missing"
    assert rows["flaky on cpu"]["finding"] == "needs [red]a licence[/]"
    assert rows["flaky on cpu"]["remedy"] == "pip install licence"


def test_a_backend_that_breaks_when_asked_harms_no_other_row(backend_file):
    rows = _rows("--plugin", str(backend_file))
    assert "libflaky.so is not there" in str(rows["flaky on cuda"]["finding"])
    assert rows["store"]["status"]


def test_a_plugin_file_that_is_not_there_is_an_error():
    result = CliRunner().invoke(app, ["--plugin", "gone.py"])
    assert isinstance(result.exception, PluginError)


def test_the_stores_place_is_looked_at_and_not_made(tmp_path):
    row = _rows("--store", str(tmp_path / "new/store"))["store"]
    assert "not there yet" in str(row["finding"])
    assert not (tmp_path / "new").exists()


def test_a_store_that_is_a_file_is_missing(tmp_path):
    (tmp_path / "file").write_text("")
    row = _rows("--store", str(tmp_path / "file"))["store"]
    assert (row["status"], row["remedy"]) == ("missing", "--store DIR")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_cannot_be_written_is_missing(tmp_path):
    tmp_path.chmod(0o500)
    assert _rows("--store", str(tmp_path / "store"))["store"]["status"] == "missing"


def test_the_table_fits_80_columns_and_shows_foreign_text_as_it_is(backend_file, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(app, ["--plugin", str(backend_file)])
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("[red]a licence[/]" in line for line in lines)
    assert any("→ pip install licence" in line for line in lines)
    assert " ok; " in lines[-1]
