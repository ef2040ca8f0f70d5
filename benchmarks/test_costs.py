"""What the harness itself costs, under pytest-benchmark: `make bench`.

Held here rather than in timed tests, which would fail on a busy machine. Figures to look for: an
observed token under 2 µs, a worker's start-up beyond importing torch under half a second.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.engine.case import Task
from harness.engine.events import Progress, parse
from harness.engine.plan import make_plan
from harness.engine.spawn import worker_command, worker_environment
from harness.engine.stream import observer_ns
from harness.engine.suites import suite_path
from harness.spec import read_suite
from harness.stats.stopping import StoppingRule
from harness.store import Store
from harness.testing.runs import example_record, example_samples


def test_observing_a_token(benchmark: BenchmarkFixture) -> None:
    per_token = benchmark.pedantic(  # type: ignore[no-untyped-call]
        observer_ns, rounds=3
    )
    benchmark.extra_info["ns_per_token"] = per_token


def test_deciding_whether_to_stop_after_200_iterations(benchmark: BenchmarkFixture) -> None:
    rule = StoppingRule(min_samples=5, max_samples=1000, target=1e-6, max_seconds=1e6)
    centres = (1 + 0.02 * np.random.default_rng(0).standard_normal(200)).tolist()
    assert not benchmark(rule.decide, centres, 1.0).stop


def test_an_event_of_a_worker(benchmark: BenchmarkFixture) -> None:
    event = Progress(point="", iterations=9, metric="itl_ms", value=9.0, half_width=0.01)
    line = event.model_dump_json().encode()
    assert benchmark(parse, line) == event


def test_planning_the_default_suite(benchmark: BenchmarkFixture) -> None:
    suite, source = read_suite(suite_path("default"))
    assert benchmark(make_plan, suite, source).cases


def test_keeping_a_round(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    record = example_record()
    case = next(c for c in record.cases if c.status == "done")
    samples = list(example_samples(case, 0))
    with Store(tmp_path).create(record) as writer:
        benchmark(writer.add_round, case.id, case.rounds[0], samples)


@pytest.mark.parametrize("arguments", [["--help"], ["list", "backends"]], ids="-".join)
def test_the_command_answers(benchmark: BenchmarkFixture, arguments: list[str]) -> None:
    command = [str(Path(sys.executable).with_name("harness")), *arguments]
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: subprocess.run(command, check=True, capture_output=True), rounds=5
    )


def test_a_workers_start_beyond_importing_torch(
    benchmark: BenchmarkFixture, tmp_path: Path
) -> None:
    worker = worker_command(_task_file(tmp_path))
    torch = [sys.executable, "-P", "-c", "import torch; print('\"load\"', flush=True)"]
    beyond: list[float] = []

    def start() -> None:
        beyond.append(_seconds_until_load(worker) - _seconds_until_load(torch))

    benchmark.pedantic(  # type: ignore[no-untyped-call]
        start, rounds=10, warmup_rounds=1
    )
    benchmark.extra_info["seconds_beyond_torch"] = statistics.median(beyond[1:])


def _task_file(folder: Path) -> Path:
    suite, source = read_suite(suite_path("quick"))
    plan = make_plan(suite, source, scenarios=["latency"])
    task = Task(
        parent_pid=os.getpid(),
        case=plan.cases[0],
        round=0,
        run=suite.run,
        max_seconds=1,
        reference=folder / "none.npz",
        positions=16,
    )
    file = folder / "task.json"
    file.write_text(task.model_dump_json())
    return file


def _seconds_until_load(command: list[str]) -> float:
    """Start a process; return the seconds until its output speaks of the phase `load`."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=worker_environment(2), stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if b'"load"' in line:
                break
        else:
            raise AssertionError("it ended before")
        seconds = time.perf_counter() - start
        process.kill()
    return seconds
