import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import harness
from harness.errors import StoreError
from harness.store import Run, Store
from harness.store.samples import COLUMNS
from harness.testing.runs import example_record, example_samples

_FAILED = "smollm2-135m/eager[dtype=bfloat16]/memory"


@pytest.fixture
def run(store: Store) -> Run:
    record = example_record(statuses={_FAILED: "failed"})
    with store.create(record) as writer:
        for case in record.cases[:2]:
            for each in case.rounds:
                writer.add_round(case.id, each, example_samples(case, each.round))
        writer.finish(record)
    return harness.load_run(writer.path)


def test_samples_open_in_pandas_with_the_declared_columns_and_types(run: Run) -> None:
    assert {name: str(dtype) for name, dtype in run.samples.dtypes.items()} == COLUMNS
    assert set(run.samples["phase"]) == {"warmup", "measure"}


def test_a_run_without_samples_has_an_empty_frame_of_the_same_types(store: Store) -> None:
    with store.create(example_record()) as writer:
        samples = Run(writer.path).samples

    assert samples.empty
    assert {name: str(dtype) for name, dtype in samples.dtypes.items()} == COLUMNS


def test_figures_are_tidy_and_absent_ones_say_why(run: Run) -> None:
    figures = run.figures

    itl = figures[(figures["metric"] == "itl_ms") & (figures["statistic"] == "p50")]
    assert list(itl["dtype"]) == ["float32", "bfloat16"]
    assert itl["value"].iloc[0] == pytest.approx(27.4)
    assert itl["mbu"].iloc[0] == pytest.approx(0.62)
    absent = figures[figures["value"].isna() & (figures["status"] == "done")]
    assert not absent.empty
    assert absent["reason"].str.startswith("needs 368 samples").all()


def test_a_case_without_figures_is_in_the_figures_with_its_reason(run: Run) -> None:
    (row,) = run.figures[run.figures["case"] == _FAILED].to_dict("records")

    assert row["status"] == "failed"
    assert row["reason"] == "the worker was killed"
    assert pd.isna(row["value"])
    assert pd.isna(row["metric"])


def test_load_run_takes_a_path_an_id_or_latest(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_STORE", str(store.root))

    assert harness.load_run(run.path).id == run.id
    assert harness.load_run(run.id).id == run.id
    assert harness.load_run("latest").id == run.id


def test_damaged_samples_are_one_line_and_leave_the_record_readable(run: Run) -> None:
    (run.path / "samples.parquet").write_bytes(b"PAR1 nothing PAR1")

    damaged = Run(run.path)

    assert damaged.record == run.record
    with pytest.raises(StoreError, match=r"samples\.parquet: cannot be read"):
        _ = damaged.samples


def test_samples_of_another_shape_are_refused(run: Run) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(run.path / "samples.parquet")

    with pytest.raises(StoreError, match="does not hold samples; expected case, round"):
        _ = Run(run.path).samples


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected the folder of a run"):
        Run(tmp_path)


def test_importing_the_harness_and_its_store_brings_nothing_heavy() -> None:
    script = (
        "import sys, harness, harness.store; harness.load_run; harness.Run; harness.store.Store;"
        "print([n for n in ('numpy', 'pandas', 'pyarrow', 'torch') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
