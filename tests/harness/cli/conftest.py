from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.store import Run, Store
from harness.testing.runs import Status, example_record, example_samples

BFLOAT16 = "smollm2-135m/eager[dtype=bfloat16]"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store that commands find by themselves, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "80")
    return Store(tmp_path / "store")


@pytest.fixture
def keep(store: Store) -> Callable[..., Run]:
    """Put an example run into the store; keywords replace fields of its record."""

    def put(
        run_id: str = "20261124-041502-default-3f2a",
        statuses: dict[str, Status] | None = None,
        **fields: Any,
    ) -> Run:
        record = example_record(run_id=run_id, statuses=statuses).model_copy(update=fields)
        with store.create(record) as writer:
            for case in record.cases:
                for each in case.rounds:
                    samples = example_samples(case, each.round) if case.status == "done" else []
                    writer.add_round(case.id, each, samples)
            writer.finish(record)
        return Run(writer.path)

    return put


@pytest.fixture
def harness() -> Callable[..., Any]:
    """Run `harness ARGUMENTS` in this process; what fails is raised."""

    def run(*arguments: str) -> Any:
        from harness.cli.app import app

        return CliRunner().invoke(app, list(arguments), catch_exceptions=False)

    return run
