import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli.listing import Kind
from harness.store import Run, Store

Command = Callable[..., Any]
Keep = Callable[..., Run]


def listed(harness: Command, *arguments: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(harness("list", *arguments, "--json").stdout)
    return rows


@pytest.mark.parametrize("kind", list(Kind))
def test_everything_can_be_listed_for_people_and_for_programs(
    store: Store, harness: Command, kind: Kind
) -> None:
    assert harness("list", kind.value).exit_code == 0
    assert isinstance(listed(harness, kind.value), list)


def test_backends_say_where_they_run_and_what_they_accept(store: Store, harness: Command) -> None:
    (eager,) = [row for row in listed(harness, "backends") if row["name"] == "eager"]

    assert eager["cpu"] == "yes"
    assert eager["cuda"] == "yes" or eager["needs"]
    assert "float32" in eager["options"]["dtype"]["enum"]


def test_a_broken_plugin_is_a_row_with_its_reason_and_harms_no_other(
    store: Store, harness: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    from harness import plugins

    points = plugins._entry_points("harness.backends")
    broken = metadata.EntryPoint("broken", "no_such_module:X", "harness.backends")
    monkeypatch.setattr(plugins, "_entry_points", lambda group: {**points, "broken": broken})

    rows = {row["name"]: row for row in listed(harness, "backends")}

    assert "No module named 'no_such_module'" in rows["broken"]["summary"]
    assert rows["eager"]["cpu"] == "yes"


def test_a_backend_whose_availability_raises_is_not_available(
    store: Store, harness: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness import plugins

    monkeypatch.setattr(plugins, "_from_files", {})
    (tmp_path / "mine.py").write_text(
        "from harness.contracts import Backend\n"
        "class Mine(Backend):\n"
        "    summary = 'mine'\n"
        "    def availability(self, device): raise RuntimeError('boom')\n"
        "    def load(self, model, device, options): ...\n"
    )

    rows = {
        r["name"]: r for r in listed(harness, "backends", "--plugin", str(tmp_path / "mine.py"))
    }

    assert rows["mine"]["cpu"] == "no"
    assert "availability raised RuntimeError: boom" in rows["mine"]["needs"]


def test_metrics_come_with_their_whole_definition(store: Store, harness: Command) -> None:
    rows = {row["name"]: row for row in listed(harness, "metrics")}
    shown = " ".join(harness("list", "metrics").stdout.split())

    assert {"ttft_ms", "itl_ms", "decode_tokens_per_s", "peak_bytes"} <= set(rows)
    for row in rows.values():
        assert row["definition"]
        assert " ".join(row["definition"].split()) in shown


def test_runs_are_listed_newest_first_and_damaged_ones_are_named(
    keep: Keep, harness: Command
) -> None:
    keep("20261124-041502-default-3f2a")
    newer = keep("20261125-041502-default-3f2b", resumed_at=["2026-11-25T05:00:00+00:00"])
    damaged = keep("20261126-041502-default-3f2c")
    (damaged.path / "run.json").write_text("{")

    rows = listed(harness, "runs")

    assert [row["name"] for row in rows] == [damaged.id, newer.id, "20261124-041502-default-3f2a"]
    assert [row["status"] for row in rows] == ["broken", "finished, resumed", "finished"]
    assert rows[1]["cases"] == "6 done"
    assert "is not JSON" in rows[0]["cases"]


def test_a_run_whose_process_is_gone_is_not_called_running(keep: Keep, harness: Command) -> None:
    keep(status="running")

    assert listed(harness, "runs")[0]["status"] == "interrupted"


def test_a_run_that_is_being_written_is_called_running(store: Store, harness: Command) -> None:
    from harness.testing.runs import example_record

    with store.create(example_record().model_copy(update={"status": "running"})):
        assert listed(harness, "runs")[0]["status"] == "running"


def test_shipped_suites_and_models_are_there(store: Store, harness: Command) -> None:
    assert {"default", "quick"} <= {row["name"] for row in listed(harness, "suites")}
    assert {"tiny", "smollm2-135m"} <= {row["name"] for row in listed(harness, "models")}


def test_what_cannot_be_listed_is_bad_input(store: Store, harness: Command) -> None:
    assert harness("list", "everything").exit_code == 2
