from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store import Store
from harness.store.record import RunRecord
from harness.testing.runs import example_record, scaled_record

Add = Callable[..., RunRecord]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def add(store: Store) -> Add:
    """Put a run of a day into the store: `add(1, factor=1.1)`."""

    def put(day: int, *, factor: float = 1.0, record: RunRecord | None = None) -> RunRecord:
        record = record or example_record()
        record.id = f"202611{day:02}-041502-default-3f2a"
        record.created_at = f"2026-11-{day:02}T04:15:02+00:00"
        with store.create(scaled_record(record, factor)):
            return record

    return put
