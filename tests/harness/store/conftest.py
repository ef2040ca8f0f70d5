import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from harness.store import RunWriter, Store
from harness.store.record import RunRecord
from harness.testing.runs import example_record, example_samples


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def begun() -> Callable[..., RunRecord]:
    """The example run before its first round."""

    def make(run_id: str = "20261124-041502-default-3f2a") -> RunRecord:
        record = example_record(run_id=run_id)
        record.status = "running"
        record.finished_at = None
        for case in record.cases:
            case.status, case.figures, case.rounds, case.cautions = "pending", [], [], []
        return record

    return make


@pytest.fixture
def add() -> Callable[[RunWriter, RunRecord, int, int], tuple[str, int]]:
    """Add one round of one case of `record` to a run that was begun."""

    def add_one(writer: RunWriter, record: RunRecord, case: int, number: int) -> tuple[str, int]:
        chosen = record.cases[case]
        writer.add_round(chosen.id, chosen.rounds[number], example_samples(chosen, number))
        return chosen.id, number

    return add_one


@pytest.fixture
def files_no_larger_than() -> Callable[[int], AbstractContextManager[None]]:
    """A disk that fills, as far as a process can bring it about without mounting one."""

    @contextmanager
    def limited(limit: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
