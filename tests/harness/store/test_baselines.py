"""Names for runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import InputError, StoreError
from harness.store import Store
from harness.store.baselines import Baselines
from harness.store.record import RunRecord

ONE, OTHER = "20261124-041502-default-3f2a", "20261124-051502-default-77aa"


@pytest.fixture
def baselines(store: Store, begun: Callable[..., RunRecord]) -> Baselines:
    for run_id in (ONE, OTHER):
        store.create(begun(run_id)).close()
    return Baselines(store)


def test_a_name_points_to_a_run_and_moves_on(baselines: Baselines) -> None:
    baselines.set("main", ONE)
    assert baselines.run("main").id == ONE

    moved = baselines.set("main", "latest")

    assert baselines.run("main").id == OTHER
    assert moved.earlier == [ONE]


def test_setting_a_name_to_the_same_run_again_is_no_history(baselines: Baselines) -> None:
    baselines.set("main", ONE)

    assert baselines.set("main", ONE).earlier == []


def test_a_run_can_stand_for_itself(baselines: Baselines) -> None:
    assert baselines.run(ONE).id == ONE
    assert baselines.run("latest~1").id == ONE


def test_a_forgotten_name_leaves_its_run(baselines: Baselines, store: Store) -> None:
    baselines.set("main", ONE)

    baselines.remove("main")

    assert baselines.all() == []
    assert store.find(ONE).id == ONE


@pytest.mark.parametrize("name", ["", "latest", "latest~1", "../x", "a/b", ".hidden", "x" * 65])
def test_what_cannot_be_a_name_is_refused(baselines: Baselines, name: str) -> None:
    with pytest.raises(InputError, match="cannot name a baseline"):
        baselines.set(name, ONE)


def test_an_unknown_name_is_answered_with_the_nearest(baselines: Baselines) -> None:
    baselines.set("main", ONE)

    with pytest.raises(StoreError, match='no baseline is called "mian"; expected one of main'):
        baselines.run("mian")


def test_a_damaged_baseline_is_named(baselines: Baselines, store: Store) -> None:
    baselines.set("main", ONE)
    (store.root / "baselines" / "main.json").write_text('{"name": 1}')

    with pytest.raises(StoreError, match=r"main\.json: is not a baseline"):
        baselines.run("main")


def test_a_baseline_whose_run_is_gone_says_so(baselines: Baselines, store: Store) -> None:
    baselines.set("main", ONE)
    (store.root / "runs" / ONE).rename(store.root / "elsewhere")

    with pytest.raises(StoreError, match=f'no run is called "{ONE}"'):
        baselines.run("main")


def test_a_run_outside_of_the_store_cannot_be_named(
    baselines: Baselines, tmp_path: Path, begun: Callable[..., RunRecord]
) -> None:
    other = Store(tmp_path / "other")
    other.create(begun("20261124-061502-default-0000")).close()
    path = other.root / "runs" / "20261124-061502-default-0000"

    with pytest.raises(StoreError, match="lies outside of the store"):
        baselines.set("main", str(path))
