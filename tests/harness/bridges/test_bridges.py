"""Other tools' files as runs, and back."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.bridges import read_files, to_pytest_benchmark
from harness.errors import InputError
from harness.gate.evidence import evidence_of, evidence_of_samples
from harness.store import Run, Store
from harness.store.record import RunRecord

BENCHMARKS = """
import pytest

@pytest.mark.parametrize("n", [100, 200])
def test_sum(benchmark, n):
    benchmark.extra_info["unit"] = "ints"
    benchmark(sum, range(n))

def test_pedantic(benchmark):
    benchmark.pedantic(sum, args=(range(10),), rounds=7, iterations=3)
"""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as pytest-benchmark itself writes it."""
    folder = tmp_path_factory.mktemp("benchmarks")
    (folder / "test_mine.py").write_text(BENCHMARKS)
    # pytest-benchmark does not measure where it believes that others run beside it.
    alone = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py",
            "--benchmark-json=theirs.json", "--benchmark-max-time=0.001",
            "--benchmark-min-rounds=5",
        ],
        cwd=folder, env=alone, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return folder / "theirs.json"


@pytest.fixture
def keep(tmp_path: Path) -> Callable[[RunRecord, Any], Run]:
    """Store an imported run, as `harness import` does."""

    def put(record: RunRecord, samples: Any) -> Run:
        with Store(tmp_path / "store").create(record) as writer:
            for case in record.cases:
                for each in case.rounds:
                    writer.add_round(case.id, each, samples[case.id, each.round])
            writer.finish(record)
        return Run(writer.path)

    return put


def test_a_file_of_pytest_benchmark_comes_out_as_it_went_in(
    theirs: Path, keep: Callable[..., Run]
) -> None:
    run = keep(*read_files([theirs]))

    before, after = json.loads(theirs.read_text()), json.loads(to_pytest_benchmark(run))

    assert after == before


def test_several_files_are_several_processes_of_one_run(theirs: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.json"
    again.write_text(theirs.read_text())

    found = evidence_of_samples(*read_files([theirs, again]))

    assert found.record.rounds == 2
    assert {len(series.processes) for series in found.series.values()} == {2}


def test_a_run_of_several_processes_keeps_them_apart_through_one_file(
    theirs: Path, tmp_path: Path, keep: Callable[..., Run]
) -> None:
    run = keep(*read_files([theirs, theirs, theirs]))
    back = tmp_path / "back.json"
    back.write_bytes(to_pytest_benchmark(run))

    found, before = evidence_of_samples(*read_files([back])), evidence_of(run)

    assert found.record.rounds == 3
    for key, series in before.series.items():
        for one, other in zip(series.processes, found.series[key].processes, strict=True):
            assert np.array_equal(one, other)


def test_a_file_without_data_has_its_median_and_no_more(theirs: Path, tmp_path: Path) -> None:
    data = json.loads(theirs.read_text())
    for benchmark in data["benchmarks"]:
        del benchmark["stats"]["data"]
    slim = tmp_path / "slim.json"
    slim.write_text(json.dumps(data))

    found = evidence_of_samples(*read_files([slim]))

    medians = {b["fullname"]: b["stats"]["median"] for b in data["benchmarks"]}
    assert {k.case: float(s.processes[0][0]) for k, s in found.series.items()} == medians


def test_parameters_and_machine_are_kept_for_comparability(theirs: Path) -> None:
    record, _ = read_files([theirs])

    case = next(c for c in record.cases if "test_sum[100]" in c.id)
    assert case.scenario_options == {"params": {"n": 100}}
    assert record.environment["cpu"]["logical_cores"]


HYPERFINE = {
    "results": [
        {"command": "sleep 0.1", "times": [0.1, 0.11, 0.12], "exit_codes": [0, 0, 0]},
        {"command": "false", "times": [0.01, 0.01, 0.01], "exit_codes": [1, 1, 1]},
    ]
}
ASV = {
    "commit_hash": "abc",
    "env_name": "virtualenv-py3.11",
    "date": 1764000000000,
    "params": {"arch": "x86_64", "cpu": "EPYC", "machine": "m", "num_cpu": "2", "ram": "8"},
    "python": "3.11",
    "requirements": {"numpy": "2.0"},
    "result_columns": ["result", "params", "version", "started_at", "duration", "samples"],
    "results": {
        "b.Suite.time_it": [[0.2, None], [["'a'", "'b'"]], "v1", 0, 1, [[0.2, 0.21], None]],
        "b.peakmem_it": [[1000], [], "v2", 0, 1],
        "b.track_it": [[5], [], "v3", 0, 1],
        "b.time_gone": [None, [], "v4", 0, 1],
    },
    "version": 2,
}


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Any], Path]:
    def write(data: Any) -> Path:
        path = tmp_path / "file.json"
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return path

    return write


def test_every_time_of_hyperfine_is_a_process(written: Callable[..., Path]) -> None:
    found = evidence_of_samples(*read_files([written(HYPERFINE)]))

    (series,) = found.series.values()
    assert [x.tolist() for x in series.processes] == [[0.1], [0.11], [0.12]]


def test_a_command_that_failed_has_no_figure(written: Callable[..., Path]) -> None:
    record, _ = read_files([written(HYPERFINE)])

    assert record.case("false").status == "failed"
    assert record.case("false").failure is not None


def test_asv_results_keep_parameters_samples_and_versions(written: Callable[..., Path]) -> None:
    record, samples = read_files([written(ASV)])

    assert [c.id for c in record.cases] == [
        "b.Suite.time_it('a')", "b.Suite.time_it('b')", "b.peakmem_it",
    ]  # fmt: skip
    assert samples["b.Suite.time_it('a')", 0][0].values == [0.2, 0.21]
    assert record.cases[1].status == "failed"
    assert record.metric("peak_bytes").headline == "once"
    assert record.cases[0].scenario_options == {"version": "v1"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "is no benchmark's result"),
        ('{"benchmarks": [{}], "machine_info": {}}', "is damaged"),
        ('{"benchmarks": [], "machine_info": {}}', "holds no benchmark"),
        ('{"results": [{"command": "x", "times": ["soon"]}]}', "is damaged"),
        ('{"result_columns": [], "results": {"time_x": 3}}', "is damaged|holds no benchmark"),
    ],
)
def test_a_file_that_is_none_is_bad_input(
    written: Callable[..., Path], text: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read_files([written(text)])


def test_files_of_several_tools_are_no_one_run(written: Callable[..., Path], theirs: Path) -> None:
    with pytest.raises(InputError, match="several tools"):
        read_files([written(HYPERFINE), theirs])
