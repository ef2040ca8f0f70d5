from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store import Run, Store
from harness.store.record import RunRecord
from harness.testing.runs import example_record


@pytest.fixture
def stored(tmp_path: Path) -> Callable[..., Run]:
    """A run in a store, from a record."""

    def store(record: RunRecord | None = None) -> Run:
        with Store(tmp_path / "store").create(record or example_record()) as writer:
            return Run(writer.path)

    return store
