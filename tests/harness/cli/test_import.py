"""Other tools' files from the command line: imported, shown, exported, gated."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InputError, StoreError
from harness.store import Store

Command = Callable[..., Any]


@pytest.fixture
def benchmark_file(store: Store, tmp_path: Path) -> Callable[..., str]:
    """Write a pytest-benchmark file of one benchmark with these seconds per round."""

    def write(name: str, *seconds: float, cpu: str = "EPYC") -> str:
        stats = {"data": list(seconds), "iterations": 1, "median": seconds[0]}
        benchmark = {"fullname": "t.py::test_a", "name": "test_a", "stats": stats}
        machine = {"node": "n", "cpu": {"brand_raw": cpu, "count": 2}}
        when = f"2026-11-24T04:00:{len(list(tmp_path.iterdir())):02d}+00:00"
        data = {"machine_info": machine, "benchmarks": [benchmark], "datetime": when}
        (tmp_path / name).write_text(json.dumps(data))
        return name

    return write


def gate(*arguments: str) -> int:
    from typer.main import get_command

    from harness.cli.app import app

    command: Any = get_command(app)
    status: int = command.main(args=["gate", *arguments], standalone_mode=False)
    return status


def test_the_gate_works_on_files_several_of_which_are_several_processes(
    benchmark_file: Callable[..., str],
) -> None:
    base = [benchmark_file(f"a{i}.json", 1.0 + i / 100, 1.01) for i in range(3)]
    slow = [benchmark_file(f"b{i}.json", 2.0 + i / 100, 2.01) for i in range(3)]
    arguments = [x for name in base for x in ("--baseline", name)]

    assert gate(*arguments, *(x for name in slow for x in ("--candidate", name))) == 1


def test_one_process_a_side_is_inconclusive(benchmark_file: Callable[..., str]) -> None:
    base, cand = benchmark_file("a.json", 1.0, 1.0), benchmark_file("b.json", 2.0, 2.0)

    assert gate("--baseline", base, "--candidate", cand) == 4


def test_files_of_two_machines_are_incomparable(benchmark_file: Callable[..., str]) -> None:
    base, cand = benchmark_file("a.json", 1.0), benchmark_file("b.json", 2.0, cpu="Xeon")

    assert gate("--baseline", base, "--candidate", cand) == 5


def test_what_is_imported_is_a_run_like_any_other(
    benchmark_file: Callable[..., str], harness: Command
) -> None:
    names = [benchmark_file(f"a{i}.json", 1.0, 1.2) for i in range(2)]

    run_id = harness("import", "pytest-benchmark", *names, "--suite", "mine").stdout.strip()

    assert "mine" in run_id
    assert "1.10 s" in harness("show").stdout
    exported = json.loads(harness("export", run_id, "--format", "pytest-benchmark").stdout)
    assert exported["benchmarks"][0]["stats"]["data"] == [1.0, 1.2, 1.0, 1.2]


def test_the_same_files_are_imported_once(
    benchmark_file: Callable[..., str], harness: Command
) -> None:
    name = benchmark_file("a.json", 1.0)
    harness("import", "pytest-benchmark", name)

    with pytest.raises(StoreError, match="is there already"):
        harness("import", "pytest-benchmark", name)


def test_a_file_of_another_tool_is_bad_input(
    benchmark_file: Callable[..., str], harness: Command
) -> None:
    name = benchmark_file("a.json", 1.0)

    with pytest.raises(InputError, match="expected JSON of hyperfine"):
        harness("import", "hyperfine", name)


def test_a_run_without_times_has_nothing_to_export(store: Store, harness: Command) -> None:
    from harness.testing.sides import side

    found = side("20261124-041502-suite-aaaa", {"peak_bytes": [[1e9]]})
    store.create(found.record).close()

    with pytest.raises(InputError, match="has no time to export"):
        harness("export", "--format", "pytest-benchmark")
