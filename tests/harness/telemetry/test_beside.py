"""Given a sampler process, when anything dies, then the rest goes on and it is said."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.telemetry.beside import Beside
from harness.telemetry.lines import Call, Header
from harness.telemetry.process import SamplingTask

PLUGIN = """
from harness.contracts import Availability, Quantity, Sampler
from harness.reading import Reading
import os, time

class Broken(Sampler):
    name = "broken"
    summary = "raises when opened"
    def availability(self): return Availability.yes()
    def open(self, watched): raise OSError("no such bus")
    def read(self, tier): return {}

class Slow(Sampler):
    name = "slow"
    summary = "takes 200 ms now and then, as a driver may"
    def availability(self): return Availability.yes()
    def open(self, watched):
        self.calls = 0
        return [Quantity("level", "1")]
    def read(self, tier):
        self.calls += 1
        if self.calls % 8 == 0:
            time.sleep(0.2)
        return {("", "level"): Reading(value=1.0)} if tier == "fast" else {}

class Deadly(Slow):
    name = "deadly"
    def read(self, tier):
        self.calls += 1
        if self.calls > 8:
            os.kill(os.getpid(), 11)
        return {("", "level"): Reading(value=1.0)} if tier == "fast" else {}
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "samplers.py"
    path.write_text(PLUGIN)
    return path


def beside(folder: Path, *names: str, plugin: Path | None = None, hz: float = 50) -> Beside:
    task = SamplingTask(
        parent_pid=os.getpid(),
        hz=hz,
        samplers=list(names),
        plugin_files=[plugin] if plugin else [],
    )
    return Beside(task, folder / "readings.jsonl", folder / "log")


@pytest.fixture
def idler() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def test_what_was_read_until_a_mark_can_be_taken(
    tmp_path: Path, idler: subprocess.Popen[bytes]
) -> None:
    with beside(tmp_path, "host") as watched:
        watched.follow(idler.pid)
        start_ns = time.monotonic_ns()
        time.sleep(0.3)
        watched.mark()
        end_ns = time.monotonic_ns()
        calls = [item for item in watched.take() if isinstance(item, Call)]

    assert watched.problem is None
    assert isinstance(watched.header, Header)
    # the last one is of the mark itself, and all ticks between are there
    assert start_ns < max(call.before_ns for call in calls) < end_ns
    assert len([c for c in calls if c.due_ns and start_ns < c.due_ns < end_ns]) >= 5
    # in its own process, which neither torch nor pandas slows down
    assert watched.header.pid == watched.pid != os.getpid()
    assert watched.footer is not None
    assert watched.footer.why == "told to stop"


def test_it_outlives_the_worker(tmp_path: Path, idler: subprocess.Popen[bytes]) -> None:
    with beside(tmp_path, "host") as watched:
        watched.follow(idler.pid)
        watched.mark()
        watched.take()
        idler.kill()
        idler.wait()
        watched.mark()
        calls = [item for item in watched.take() if isinstance(item, Call)]

    assert watched.problem is None
    assert "the worker has ended" in {reason for call in calls for reason in call.why.values()}


def test_a_sampler_that_does_not_open_harms_no_other(tmp_path: Path, plugin: Path) -> None:
    with beside(tmp_path, "broken", "host", "nowhere", plugin=plugin) as watched:
        watched.mark()
        calls = [item for item in watched.take() if isinstance(item, Call)]

    assert watched.header is not None
    found = {s.name: (s.ok, s.reason) for s in watched.header.samplers}
    assert found["broken"] == (False, "OSError: no such bus")
    assert found["host"] == (True, None)
    assert 'no sampler is called "nowhere"' in str(found["nowhere"][1])
    # and places in calls are places in the header
    assert {watched.header.samplers[call.sampler].name for call in calls} == {"host"}


def test_a_slow_call_costs_ticks_and_each_is_counted(tmp_path: Path, plugin: Path) -> None:
    with beside(tmp_path, "slow", plugin=plugin) as watched:
        time.sleep(1.0)

    assert watched.footer is not None
    assert watched.footer.missed >= 8
    due = (watched.footer.ended_ns - (watched.header.started_ns if watched.header else 0)) / 20e6
    assert watched.footer.ticks + watched.footer.missed == pytest.approx(due, abs=3)


def test_a_sampler_that_crashes_the_process_is_named_and_nothing_raises(
    tmp_path: Path, plugin: Path
) -> None:
    with beside(tmp_path, "deadly", plugin=plugin) as watched:
        deadline = time.monotonic() + 10
        while watched.problem is None and time.monotonic() < deadline:
            time.sleep(0.05)
            watched.mark()
        watched.follow(1)
        calls = watched.take()

    assert watched.problem == "the sampler process ended (SIGSEGV)"
    assert calls  # what was read before is kept


def test_it_dies_with_the_harness(tmp_path: Path) -> None:
    script = (
        "import os, sys, time; from pathlib import Path\n"
        "from harness.telemetry.beside import Beside\n"
        "from harness.telemetry.process import SamplingTask\n"
        "task = SamplingTask(parent_pid=os.getpid(), hz=20, samplers=['host'])\n"
        "beside = Beside(task, Path(sys.argv[1]) / 'r', Path(sys.argv[1]) / 'l')\n"
        "print(beside.pid, flush=True); time.sleep(60)"
    )
    harness = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert harness.stdout is not None
    sampler = psutil.Process(int(harness.stdout.readline()))
    harness.send_signal(signal.SIGKILL)
    harness.communicate()

    assert psutil.wait_procs([sampler], timeout=5)[1] == []


def test_the_sampler_process_imports_nothing_heavy() -> None:
    script = (
        "import sys; import harness.telemetry.process, harness.telemetry.host.sampler\n"
        "heavy = {'torch', 'numpy', 'pandas', 'pyarrow', 'matplotlib', 'rich', 'psutil'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_by_hand_it_writes_lines_until_ctrl_c() -> None:
    task = SamplingTask(parent_pid=os.getpid(), hz=50, samplers=["host"], live=True)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "harness.telemetry.process", task.model_dump_json()],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(8)]
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=10)
    assert process.returncode == 0

    assert lines[0].startswith(b'{"header"')
    assert rest.splitlines()[-1].startswith(b'{"footer"')
    assert b"interrupted" in rest.splitlines()[-1]
