import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.store import RunWriter, Samples, Store
from harness.store.record import RunRecord
from harness.store.run import Run
from harness.store.writer import is_live
from harness.testing.runs import example_record, example_samples

Begun = Callable[..., RunRecord]
Limit = Callable[[int], AbstractContextManager[None]]
Add = Callable[[RunWriter, RunRecord, int, int], tuple[str, int]]


def pairs(run: Run) -> set[tuple[str, int]]:
    return {(case.id, r.round) for case in run.record.cases for r in case.rounds}


def test_a_round_is_on_the_disk_when_add_round_returns(
    store: Store, begun: Begun, add: Add
) -> None:
    with store.create(begun()) as writer:
        added = add(writer, example_record(), 0, 1)

        run = Run(writer.path)

    assert pairs(run) == {added}
    assert run.record.case(added[0]).rounds[0] == example_record().cases[0].rounds[1]
    assert set(run.samples["round"]) == {1}


def test_finishing_merges_parts_and_removes_them(store: Store, begun: Begun, add: Add) -> None:
    record = example_record()
    with store.create(begun()) as writer:
        for case in range(len(record.cases)):
            add(writer, record, case, 0)
        before = Run(writer.path).samples

        writer.finish(record)

    after = Run(writer.path)
    assert after.record == record
    assert after.samples.equals(before)
    assert list((writer.path / "parts").iterdir()) == []


def test_finishing_twice_changes_nothing(store: Store, begun: Begun, add: Add) -> None:
    record = example_record()
    with store.create(begun()) as writer:
        add(writer, record, 0, 0)
        writer.finish(record)
        once = Run(writer.path)
        writer.finish(record)

    assert Run(writer.path).record == once.record
    assert Run(writer.path).samples.equals(once.samples)


def test_rounds_added_after_finishing_join_those_before(
    store: Store, begun: Begun, add: Add
) -> None:
    record, bare = example_record(), begun()
    with store.create(bare) as writer:
        first = add(writer, record, 0, 0)
        bare = writer.finish(bare)
        second = add(writer, record, 0, 1)
        writer.finish(bare)

    run = Run(writer.path)
    assert pairs(run) == {first, second}
    assert run.samples.groupby("round").size().to_dict() == {0: 72, 1: 72}


def test_adding_a_round_again_replaces_it(store: Store, begun: Begun) -> None:
    case = example_record().cases[0]
    with store.create(begun()) as writer:
        for values in ([1.0], [2.0, 3.0]):
            sample = Samples("", "measure", 0, "itl_ms", values)
            writer.add_round(case.id, case.rounds[0], [sample])

        assert list(Run(writer.path).samples["value"]) == [2.0, 3.0]


def test_a_full_disk_loses_nothing_that_was_added(
    store: Store, begun: Begun, add: Add, files_no_larger_than: Limit
) -> None:
    record = example_record()
    big = [Samples("", "measure", i, "itl_ms", list(os.urandom(4096))) for i in range(50)]
    with store.create(begun()) as writer:
        kept = add(writer, record, 0, 0)
        with files_no_larger_than(10_000), pytest.raises(StoreError, match="free space"):
            writer.add_round(record.cases[1].id, record.cases[1].rounds[0], big)

    assert pairs(Run(writer.path)) == {kept}
    assert len(list((writer.path / "parts").iterdir())) == 1


def test_a_full_disk_while_finishing_keeps_the_parts(
    store: Store, begun: Begun, add: Add, files_no_larger_than: Limit
) -> None:
    record = example_record()
    with store.create(begun()) as writer:
        kept = add(writer, record, 0, 0)
        with files_no_larger_than(100), pytest.raises(StoreError, match="free space"):
            writer.finish(record)

    assert pairs(Run(writer.path)) == {kept}
    assert len(Run(writer.path).samples) == 72


def test_a_store_that_is_a_file_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")

    with pytest.raises(StoreError) as caught:
        Store(tmp_path / "store").create(example_record())

    assert str(tmp_path / "store") in str(caught.value)
    assert "--store DIR or HARNESS_STORE" in str(caught.value)


def test_a_store_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        Store("/proc/nothing/here").create(example_record())


def test_a_run_of_the_same_id_is_not_overwritten(store: Store) -> None:
    store.create(example_record()).close()

    with pytest.raises(StoreError, match="is there already"):
        store.create(example_record())


def test_a_live_run_cannot_be_resumed(store: Store, begun: Begun) -> None:
    with store.create(begun()) as writer:
        assert is_live(writer.path)
        with pytest.raises(StoreError, match="written by another harness process"):
            store.resume("latest")

    assert not is_live(writer.path)


def test_looking_whether_a_run_is_live_does_not_keep_it_from_being_resumed(
    store: Store, begun: Begun
) -> None:
    store.create(begun()).close()
    path = store.find("latest").path

    assert not any(is_live(path) for _ in range(3))
    store.resume("latest").writer.close()


def test_the_lock_goes_with_its_process(store: Store, begun: Begun) -> None:
    store.create(begun()).close()
    path = store.find("latest").path
    script = (
        "import os, sys; from harness.store.writer import RunWriter; from pathlib import Path;"
        "RunWriter.reopen(Path(sys.argv[1])); print('held', flush=True); os._exit(9)"
    )

    subprocess.run([sys.executable, "-c", script, str(path)], check=False, capture_output=True)

    assert not is_live(path)


def test_two_processes_on_one_store_do_not_harm_each_other(store: Store) -> None:
    script = """
import sys
from harness.store import Store
from harness.testing.runs import example_record, example_samples
store = Store(sys.argv[1])
for _ in range(3):
    record = example_record(run_id=store.new_id("both"))
    with store.create(record) as writer:
        for case in record.cases:
            writer.add_round(case.id, case.rounds[0], example_samples(case, 0))
        writer.finish(record)
"""
    both = [subprocess.Popen([sys.executable, "-c", script, str(store.root)]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]

    runs = store.runs()
    assert len(runs) == 6
    assert all(isinstance(run, Run) and len(run.samples) == 2 * (72 + 144 + 72) for run in runs)


def test_a_damaged_part_is_named_and_left_out(store: Store, begun: Begun, add: Add) -> None:
    record = example_record()
    with store.create(begun()) as writer:
        kept = add(writer, record, 0, 0)
        add(writer, record, 1, 0)
    (damaged,) = (p for p in (writer.path / "parts").iterdir() if "throughput" in p.name)
    damaged.write_bytes(damaged.read_bytes()[:100])

    run = Run(writer.path)

    assert pairs(run) == {kept}
    assert len(run.problems) == 1
    assert damaged.name in run.problems[0]
    _, finished, writer = store.resume("latest")
    writer.close()
    assert finished == {kept}


def test_a_case_id_of_any_form_is_a_harmless_file_name(store: Store, begun: Begun) -> None:
    record = begun()
    record.cases[0].id = "../../etc/passwd\x00\n" + "x" * 5000
    done = example_record().cases[0].rounds[0]
    with store.create(record) as writer:
        writer.add_round(record.cases[0].id, done, [])
        log = writer.log_path(record.cases[0].id, 0)
        log.write_text("fits")

    assert log.parent == writer.path / "logs"
    assert pairs(Run(writer.path)) == {(record.cases[0].id, 0)}


def test_writing_rounds_imports_neither_pandas_nor_pyarrow(store: Store) -> None:
    script = """
import sys
from harness.store import Run, Store
from harness.testing.runs import example_record, example_samples
record = example_record()
with Store(sys.argv[1]).create(record) as writer:
    writer.add_round(record.cases[0].id, record.cases[0].rounds[0],
                     example_samples(record.cases[0], 0))
    Run(writer.path)
print([name for name in ("pandas", "pyarrow", "torch") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(store.root)], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_samples_keep_their_place(store: Store, begun: Begun, add: Add) -> None:
    record = example_record()
    with store.create(begun()) as writer:
        add(writer, record, 0, 2)
        frame = Run(writer.path).samples

    expected = [
        (s.point, s.phase, s.iteration, i, s.metric, value)
        for s in example_samples(record.cases[0], 2)
        for i, value in enumerate(s.values)
    ]
    columns = ["point", "phase", "iteration", "index", "metric", "value"]
    assert list(frame[columns].itertuples(index=False, name=None)) == expected
    assert set(frame["process"]) == {4002}
    assert set(frame["case"]) == {record.cases[0].id}
