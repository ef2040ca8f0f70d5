import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import StoreError
from harness.store import Samples
from harness.store.samples import Part, dump_part, merged_table, parquet_bytes, read_table
from harness.testing.runs import example_record, example_samples

_CASE = example_record().cases[0]


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "part.npz"
    path.write_bytes(dump_part(_CASE.id, _CASE.rounds[0], example_samples(_CASE, 0)))
    return path


samples = st.lists(
    st.builds(
        Samples,
        point=st.text(),
        phase=st.sampled_from(["warmup", "measure"]),
        iteration=st.integers(0, 2**31 - 1),
        metric=st.text(),
        values=st.lists(st.floats(allow_nan=False), max_size=5),
    ),
    max_size=8,
)


@given(given_samples=samples)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_samples_survive_part_and_parquet(tmp_path: Path, given_samples: list[Samples]) -> None:
    (tmp_path / "part.npz").write_bytes(dump_part("a", _CASE.rounds[1], given_samples))

    table = merged_table([Part.read(tmp_path / "part.npz")], None)
    (tmp_path / "samples.parquet").write_bytes(parquet_bytes(table))
    rows = read_table(tmp_path / "samples.parquet").to_pylist()

    assert rows == [
        {
            "case": "a",
            "round": 1,
            "process": 4001,
            "point": s.point,
            "phase": s.phase,
            "iteration": s.iteration,
            "index": index,
            "metric": s.metric,
            "value": value,
        }
        for s in given_samples
        for index, value in enumerate(s.values)
    ]


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_part_with_wrong_bytes_is_a_store_error_or_whole(part: Path, data: st.DataObject) -> None:
    whole = bytearray(dump_part(_CASE.id, _CASE.rounds[0], example_samples(_CASE, 0)))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
    part.write_bytes(whole[: data.draw(st.integers(len(whole) // 2, len(whole)))])

    try:
        found = str(Part.read(part).table().num_rows)
    except StoreError as error:
        found = str(error)

    assert found == "72" or (str(part) in found and len(found.splitlines()) == 1)


def test_a_pickle_in_a_part_is_not_loaded(tmp_path: Path) -> None:
    import numpy as np

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    np.savez(tmp_path / "part.npz", header=np.array([Trap()], dtype=object))

    with pytest.raises(StoreError, match="is not a part of a run"):
        Part.read(tmp_path / "part.npz")
    assert not (tmp_path / "sprung").exists()


def test_a_round_in_a_part_counts_once_though_it_was_merged_before(part: Path) -> None:
    earlier = merged_table([Part.read(part)], None)

    assert merged_table([Part.read(part)], earlier).equals(earlier)
