"""The gate from the command line: verdicts as exit statuses, files for CI."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InputError, StoreError
from harness.store import Run, Samples, Store
from harness.testing.sides import side

Command = Callable[..., Any]

BASE, CAND = "20261124-041502-suite-aaaa", "20261124-051502-suite-bbbb"


@pytest.fixture
def put(store: Store) -> Callable[..., Run]:
    """Store a run of one case whose processes have these times per token."""

    def one(run_id: str, itl_ms: list[float], **fields: Any) -> Run:
        record = side(run_id, {"itl_ms": [[x] for x in itl_ms]}, **fields).record
        with store.create(record) as writer:
            for case in record.cases:
                for each, value in zip(case.rounds, itl_ms, strict=True):
                    rows = [Samples("", "measure", i, "itl_ms", [value]) for i in range(3)]
                    writer.add_round(case.id, each, rows)
            writer.finish(record)
        return Run(writer.path)

    return one


def status(result: Any) -> int:
    return int(result.return_value or 0)


def run(harness: Command, *arguments: str) -> Any:
    """Return the exit status and what was printed."""
    from typer.main import get_command

    from harness.cli.app import app

    del harness
    return get_command(app).main(args=list(arguments), prog_name="harness", standalone_mode=False)


@pytest.mark.parametrize(
    ("cand", "expected"),
    [
        ([40.0, 40.1, 40.2], 1),
        ([10.0, 10.1, 10.05], 0),
        ([20.8, 20.9, 20.7], 4),
    ],
)
def test_the_exit_status_is_the_verdict(
    put: Callable[..., Run], harness: Command, cand: list[float], expected: int
) -> None:
    put(BASE, [20.0, 20.1, 20.05])
    put(CAND, cand)
    harness("baseline", "set", "main", BASE)

    assert run(harness, "gate", "--baseline", "main") == expected


def test_inconclusive_can_be_told_to_pass(put: Callable[..., Run], harness: Command) -> None:
    put(BASE, [20.0, 20.1, 20.05])
    put(CAND, [20.8, 20.9, 20.7])

    assert run(harness, "gate", "--baseline", BASE, "--on-inconclusive", "pass") == 0


def test_a_case_without_a_figure_exits_3(put: Callable[..., Run], harness: Command) -> None:
    put(BASE, [20.0, 20.1, 20.05])
    put(CAND, [20.0, 20.1, 20.05], case={"status": "failed"})

    assert run(harness, "gate", "--baseline", BASE) == 3


def test_another_machine_exits_5_unless_allowed(put: Callable[..., Run], harness: Command) -> None:
    put(BASE, [20.0, 20.1, 20.05])
    put(CAND, [40.0, 40.1, 40.2], environment={"cpu": {"model": "Xeon"}})

    assert run(harness, "gate", "--baseline", BASE) == 5
    assert run(harness, "gate", "--baseline", BASE, "--allow-different", "cpu") == 1


def test_every_file_that_ci_reads_is_written(
    put: Callable[..., Run], harness: Command, tmp_path: Path
) -> None:
    put(BASE, [20.0, 20.1, 20.05])
    put(CAND, [40.0, 40.1, 40.2])

    shown = harness(
        "gate", "--baseline", BASE, "--junit", "j.xml", "--markdown", "m.md", "--json", "g.json",
        "--gitlab", "gl.json", "--github",
    ).stdout  # fmt: skip

    assert "<failure" in (tmp_path / "j.xml").read_text()
    assert "regression" in (tmp_path / "m.md").read_text()
    assert json.loads((tmp_path / "g.json").read_text())["verdict"] == "regression"
    assert len(json.loads((tmp_path / "gl.json").read_text())) == 1
    assert "::error title=regression" in shown
    assert "regression: 1 of 1 figures" in shown


def test_json_on_standard_output_is_nothing_else(put: Callable[..., Run], harness: Command) -> None:
    put(BASE, [20.0, 20.1, 20.05])
    put(CAND, [40.0, 40.1, 40.2])

    said = json.loads(harness("gate", "--baseline", BASE, "--json", "-").stdout)

    assert said["verdict"] == "regression"


def test_compare_shows_the_ratio_with_its_interval_drawn(
    put: Callable[..., Run], harness: Command
) -> None:
    put(BASE, [20.0, 20.1, 20.05])
    put(CAND, [40.0, 40.1, 40.2])

    shown = harness("compare", BASE, "latest").stdout

    assert "+100.0 % [" in shown
    assert "●" in shown
    assert "regression" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gate"], "no baseline is named"),
        (["gate", "--baseline", BASE, "--candidate", BASE], "are the same run"),
        (["gate", "suite.toml", "--baseline", BASE, "--candidate", CAND], "both a suite to run"),
        (["gate", "--baseline", BASE, "--margin", "0"], "--margin 0"),
        (["gate", "--baseline", "mian"], 'no baseline is called "mian"'),
        (["compare", BASE, "nothing.json"], "no (baseline|run) is called"),
    ],
)
def test_bad_input_is_one_clear_line(
    put: Callable[..., Run], harness: Command, arguments: list[str], said: str
) -> None:
    put(BASE, [20.0, 20.1, 20.05])
    put(CAND, [20.0, 20.1, 20.05])
    harness("baseline", "set", "main", BASE)

    with pytest.raises(InputError, match=said):
        harness(*arguments)


def test_baselines_are_listed_shown_and_forgotten(
    put: Callable[..., Run], harness: Command
) -> None:
    put(BASE, [20.0, 20.1, 20.05])
    assert harness("baseline", "set", "main").stdout == f"main -> {BASE}\n"

    assert BASE in harness("baseline", "list").stdout
    assert json.loads(harness("baseline", "list", "--json").stdout)[0]["run"] == BASE
    assert BASE in harness("baseline", "show", "main").stdout
    harness("baseline", "rm", "main")
    with pytest.raises(StoreError, match="no baseline is called"):
        harness("baseline", "show", "main")


def test_earlier_runs_of_the_same_revision_show_how_far_runs_lie_apart(
    put: Callable[..., Run], harness: Command
) -> None:
    same = {"cpu": {"model": "EPYC"}, "git": {"revision": "abc", "dirty": False}}
    for number, centre in enumerate((20.0, 20.1, 19.9, 20.05, 19.95, 20.0)):
        put(f"20261124-01000{number}-suite-aaaa", [centre, centre * 1.01], environment=same)
    other = {**same, "git": {"revision": "def", "dirty": False}}
    put(CAND, [20.0, 20.2], environment=other)

    shown = " ".join(harness("compare", "20261124-010005", "latest").stdout.split())

    assert "run-to-run variance from 5 earlier runs" in shown
    assert "is assumed" not in shown
