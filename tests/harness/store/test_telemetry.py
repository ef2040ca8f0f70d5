"""Given readings of rounds, when a run is stored and read, then none is lost or doubled."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from harness.errors import StoreError
from harness.store import RunWriter, Store, Telemetry
from harness.store.record import PhaseRecord, RunRecord
from harness.store.run import Run
from harness.store.telemetry import TELEMETRY_COLUMNS, SeriesKey
from harness.testing.runs import example_record

Begun = Callable[..., RunRecord]


def readings(start_ns: int, n: int = 4, idle_ns: tuple[int, int] | None = None) -> Telemetry:
    """`n` readings a nanosecond apart, every other one absent."""
    absent = np.arange(n) % 2
    return Telemetry(
        series=(SeriesKey("nvml", "GPU-1", "power_w", "W", "gauge"),),
        which=np.zeros(n, np.int32),
        time_ns=np.arange(n, dtype=np.int64) + start_ns,
        call_ns=np.full(n, 7, np.int64),
        value=np.where(absent, np.nan, 42.0),
        why=(absent - 1).astype(np.int32),
        reasons=("GPU is lost",),
        idle_ns=idle_ns,
    )


def add(writer: RunWriter, case: int, number: int, telemetry: Telemetry | None) -> None:
    chosen = example_record().cases[case]
    record = chosen.rounds[number].model_copy(
        update={"phases": [PhaseRecord(name="load", point="p", start_ns=102, end_ns=200)]}
    )
    writer.add_round(chosen.id, record, [], telemetry)


def test_readings_are_there_before_and_after_the_run_is_finished(
    store: Store, begun: Begun
) -> None:
    with store.create(begun()) as writer:
        add(writer, 0, 0, readings(100))
        before = Run(writer.path).telemetry
        writer.finish(begun())

    after = Run(writer.path).telemetry
    assert list(after.columns) == list(TELEMETRY_COLUMNS)
    assert after.equals(before)
    assert list(after["time_ns"]) == [100, 101, 102, 103]
    assert list(after["phase"]) == ["", "", "load", "load"]
    assert list(after["point"]) == ["", "", "p", "p"]
    assert set(after["unit"]) == {"W"}


def test_an_absent_value_is_absent_with_its_reason_and_no_number(
    store: Store, begun: Begun
) -> None:
    with store.create(begun()) as writer:
        add(writer, 0, 0, readings(100, n=2))
        writer.finish(begun())

    frame = Run(writer.path).telemetry
    assert frame["value"][0] == 42.0
    assert frame["value"][1] is pd.NA
    assert list(frame["reason"].isna()) == [True, False]
    assert frame["reason"][1] == "GPU is lost"


def test_readings_of_the_idle_machine_are_a_phase(store: Store, begun: Begun) -> None:
    with store.create(begun()) as writer:
        add(writer, 0, 0, readings(100, n=3, idle_ns=(0, 101)))

        assert list(Run(writer.path).telemetry["phase"]) == ["idle", "", "load"]


def test_a_resumed_run_has_the_readings_of_both(store: Store, begun: Begun) -> None:
    with store.create(begun()) as writer:
        add(writer, 0, 0, readings(100))
        writer.finish(begun())
    _, _, again = store.resume("latest")
    with again:
        add(again, 0, 1, readings(200))
        add(again, 1, 0, None)
        again.finish(Run(again.path).record)

    frame = Run(again.path).telemetry
    assert frame.groupby("round").size().to_dict() == {0: 4, 1: 4}


def test_a_round_that_is_added_again_counts_once(store: Store, begun: Begun) -> None:
    with store.create(begun()) as writer:
        add(writer, 0, 0, readings(100))
        writer.finish(begun())
        add(writer, 0, 0, readings(500, n=2))
        writer.finish(begun())

    assert list(Run(writer.path).telemetry["time_ns"]) == [500, 501]


def test_a_run_that_nothing_watched_has_no_readings_and_no_file(store: Store, begun: Begun) -> None:
    with store.create(begun()) as writer:
        add(writer, 0, 0, None)
        writer.finish(begun())

    run = Run(writer.path)
    assert len(run.telemetry) == 0
    assert list(run.telemetry.columns) == list(TELEMETRY_COLUMNS)
    assert not (run.path / "telemetry.parquet").exists()


def test_a_damaged_file_is_one_line_that_names_it(store: Store, begun: Begun) -> None:
    with store.create(begun()) as writer:
        add(writer, 0, 0, readings(100))
        writer.finish(begun())
    (writer.path / "telemetry.parquet").write_bytes(b"PAR1 not really")

    with pytest.raises(StoreError, match=r"telemetry\.parquet"):
        _ = Run(writer.path).telemetry
