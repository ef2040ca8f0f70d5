import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.store import BrokenRun, Store
from harness.store.record import RunRecord
from harness.testing.runs import example_record

_IDS = ["20261124-041502-default-3f2a", "20261125-080000-default-77aa", "20261125-090000-mine-0b1c"]


@pytest.fixture
def three(store: Store) -> Store:
    for run_id in _IDS:
        store.create(example_record(run_id=run_id)).close()
    return store


def test_ids_are_sortable_unique_and_fit_for_a_folder() -> None:
    ids = {Store.new_id("../my süite/" + "x" * 100) for _ in range(50)}

    assert len(ids) > 45
    assert all(re.fullmatch(r"\d{8}-\d{6}-[A-Za-z0-9_.-]{1,40}-[0-9a-f]{4}", i) for i in ids)


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        (_IDS[0], _IDS[0]),
        ("20261124", _IDS[0]),
        ("latest", _IDS[2]),
        ("latest~0", _IDS[2]),
        ("latest~2", _IDS[0]),
        ("20261125-09", _IDS[2]),
    ],
)
def test_a_run_is_found_by_id_beginning_or_age(three: Store, reference: str, found: str) -> None:
    assert three.find(reference).id == found


def test_a_run_is_found_by_its_path(three: Store, tmp_path: Path) -> None:
    path = three.root / "runs" / _IDS[1]

    assert Store(tmp_path / "elsewhere").find(str(path)).id == _IDS[1]
    assert Store(tmp_path / "elsewhere").find(str(path / "run.json")).id == _IDS[1]


@pytest.mark.parametrize(
    ("reference", "line"),
    [
        ("20261125", "begins 2 runs; expected one of 20261125-090000-mine-0b1c"),
        ("20261124-041502-default-3f2b", 'did you mean "20261124-041502-default-3f2a"'),
        ("latest~3", "holds 3 runs, none 3 before the latest"),
        ("", "no run is called"),
        ("no/such/run", "cannot be read: No such file"),
    ],
)
def test_a_run_that_is_not_there_is_one_line(three: Store, reference: str, line: str) -> None:
    with pytest.raises(StoreError, match=re.escape(line)):
        three.find(reference)


def test_latest_in_an_empty_store_says_how_to_make_a_run(store: Store) -> None:
    with pytest.raises(StoreError, match="holds no run; harness run makes one"):
        store.find("latest")


def test_a_damaged_run_is_named_and_skipped(three: Store) -> None:
    (three.root / "runs" / _IDS[2] / "run.json").write_text('{"schema_version": 1')

    runs = three.runs()

    assert [run.id for run in runs] == _IDS[::-1]
    assert isinstance(runs[0], BrokenRun)
    assert "is not JSON" in runs[0].reason
    assert three.find("latest").id == _IDS[1]


def test_what_is_no_run_among_the_runs_is_named_not_fatal(three: Store) -> None:
    (three.root / "runs" / "notes").mkdir()
    (three.root / "runs" / "file.txt").write_text("hello")
    (three.root / "runs" / ".hidden").mkdir()

    assert [run.id for run in three.runs() if isinstance(run, BrokenRun)] == ["notes"]


def test_the_store_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_STORE", str(tmp_path / "mine"))
    assert Store().root == tmp_path / "mine"

    monkeypatch.delenv("HARNESS_STORE")
    assert Store().root == Path(".harness")
    assert Store("given").root == Path("given")


def test_a_store_keeps_itself_out_of_the_users_git(three: Store) -> None:
    assert "*" in (three.root / ".gitignore").read_text().splitlines()


def test_resuming_marks_the_run_and_says_what_is_finished(
    store: Store, begun: Callable[..., RunRecord]
) -> None:
    whole = example_record()
    with store.create(begun()) as writer:
        writer.add_round(whole.cases[0].id, whole.cases[0].rounds[0], [])
        left = writer.path / ".run.json.12345678.aside"
        left.write_text("half")

    record, finished, writer = store.resume("latest")
    writer.close()

    assert finished == {(whole.cases[0].id, 0)}
    assert len(record.resumed_at) == 1
    assert store.find("latest").resumed
    assert not os.path.exists(left)  # noqa: PTH110 - a plain look


def test_a_leftover_of_a_killed_creation_is_no_run(three: Store) -> None:
    (three.root / "runs" / ".20261126-000000-x-0000.new").mkdir()

    assert len(three.runs()) == 3
