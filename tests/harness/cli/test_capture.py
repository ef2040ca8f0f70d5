import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from harness.cli.doctor import doctor
from harness.errors import PluginError
from harness.testing.capture import CaptureReport
from harness.testing.capture.hazard import Hazard

app = typer.Typer()
app.command()(doctor)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, CaptureReport]:
    """What the looks find: the verb is under test here, not they."""
    found = {
        "good": CaptureReport(backend="good", operations=92, hazards=[]),
        "bad": CaptureReport(
            backend="bad",
            operations=95,
            hazards=[
                Hazard(
                    kind="waits",
                    seen="item",
                    file=str(Path.cwd() / "mine.py"),
                    line=7,
                    source="if x.item() [red]> 0:",
                    found_by="operations",
                )
            ],
        ),
        "dim": CaptureReport(
            backend="dim", operations=92, hazards=[], not_looked={"pretended": "no way"}
        ),
    }
    monkeypatch.setattr(
        "harness.testing.capture.check_capture",
        lambda names, plugin_files: [found[name] for name in names],
    )
    return found


def _said(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout


def test_a_safe_backend_exits_with_0_and_says_so(answers):
    status, said = _said("--capture", "good")
    assert status == 0
    assert said.startswith("good: safe to capture; 92 operations")


def test_a_hazard_exits_with_3_and_names_file_line_source_and_remedy(answers, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    status, said = _said("--capture", "bad")
    assert status == 3
    assert "bad: 1 hazard" in said
    assert "mine.py:7" in said
    assert "if x.item() [red]> 0:" in said
    assert "→ keep the value in a tensor" in said


def test_a_look_that_was_not_to_be_had_is_not_called_safe(answers):
    status, said = _said("--capture", "dim")
    assert status == 3
    assert "not known to be safe" in said
    assert "pretended: no way" in said


def test_several_backends_are_looked_at_in_turn(answers):
    status, said = _said("--capture", "good", "--capture", "bad")
    assert status == 3
    assert said.index("good:") < said.index("bad:")


def test_json_holds_all_of_it_and_nothing_else(answers):
    status, said = _said("--capture", "good", "--capture", "bad", "--json")
    good, bad = json.loads(said)["captures"]
    assert (status, good["safe"], bad["safe"]) == (3, True, False)
    assert (bad["hazards"][0]["line"], bad["hazards"][0]["kind"]) == (7, "waits")


def test_an_unknown_backend_is_an_error_that_lists_the_known():
    result = CliRunner().invoke(app, ["--capture", "egaer"])
    assert isinstance(result.exception, PluginError)
    assert "eager" in str(result.exception)
