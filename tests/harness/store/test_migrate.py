import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import StoreError
from harness.store import Store, load_run
from harness.store.migrate import dump_record, parse_json, plain, to_record, upgraded
from harness.store.record import SCHEMA_VERSION
from harness.testing.runs import example_record


def test_a_record_survives_being_written_and_read() -> None:
    record = example_record()

    assert to_record(parse_json(dump_record(record), "x"), "x") == record


def test_an_older_schema_is_brought_up_one_version_at_a_time() -> None:
    # Given a made-up history: 0 had `title`, -1 had it under `t`
    migrations = {
        -1: lambda data: {**data, "title": data["t"]},
        0: lambda data: {**data, "suite": data["title"]},
    }

    data = upgraded({"schema_version": -1, "t": "x"}, "x", migrations=migrations, current=1)

    assert data["suite"] == "x"
    assert data["schema_version"] == 1


def test_a_version_that_nothing_leads_on_from_is_refused() -> None:
    with pytest.raises(StoreError, match="schema 0 cannot be read any more"):
        upgraded({"schema_version": 0}, "x", migrations={}, current=1)


def test_a_run_in_an_older_schema_loads_from_its_folder(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.create(example_record()) as writer:
        path = writer.path
    data = json.loads((path / "run.json").read_text())
    data |= {"schema_version": 0, "title": data.pop("suite")}
    (path / "run.json").write_text(json.dumps(data))
    title_to_suite = {0: lambda d: {("suite" if k == "title" else k): d[k] for k in d}}
    monkeypatch.setitem(upgraded.__kwdefaults__, "migrations", title_to_suite)

    assert load_run(path).record == example_record()


def test_a_newer_schema_is_refused_in_one_line(store: Store) -> None:
    with store.create(example_record()) as writer:
        path = writer.path
    data = json.loads((path / "run.json").read_text()) | {"schema_version": 7, "new": 1}
    (path / "run.json").write_text(json.dumps(data))

    with pytest.raises(StoreError) as caught:
        load_run(path)

    line = str(caught.value)
    assert f"written by a newer harness (schema 7, this one reads {SCHEMA_VERSION})" in line
    assert "upgrade" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"{}", b'{"schema_version": true}', b'{"schema_version": 1}', b"\xff\xfe",
     b"[" * 100_000, b'{"schema_version": "1"}', b"null"],
)  # fmt: skip
def test_a_damaged_file_is_one_line_that_names_it(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "run.json").write_bytes(text)

    with pytest.raises(StoreError) as caught:
        load_run(tmp_path)

    assert str(tmp_path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@given(cut=st.integers(0, 20_000))
def test_a_file_cut_short_anywhere_is_a_store_error(cut: int) -> None:
    whole = dump_record(example_record())
    short = whole[: min(cut, len(whole) - 3)]

    with pytest.raises(StoreError):
        to_record(parse_json(short, "x"), "x")


def test_facts_of_any_kind_become_json_that_any_reader_accepts() -> None:
    record = example_record()
    record.cases[0].rounds[0].facts = {
        "nan": math.nan,
        "numpy": np.float32(0.5),
        "path": Path("a/b"),
        "bytes of no encoding": "caf\udce9",
        "nested": [{"x": (1, math.inf)}, {None}],
    }

    facts = json.loads(dump_record(record))["cases"][0]["rounds"][0]["facts"]

    assert facts == {
        "nan": None,
        "numpy": 0.5,
        "path": "a/b",
        "bytes of no encoding": "caf?",
        "nested": [{"x": [1, None]}, [None]],
    }


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
))  # fmt: skip
def test_plain_values_are_json_and_stay_what_they_were(value: object) -> None:
    once = plain(value)

    assert json.loads(json.dumps(once, allow_nan=False)) == once
    assert plain(once) == once
