"""Given a run, when anything is killed, then what is finished is kept and no worker is left."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.store import Store
from tests.harness.engine.conftest import SuiteRunner, command, environment

EAGER = ['name = "eager"\nlabel = "one"\nthreads = 1', 'name = "eager"\nlabel = "two"\nthreads = 1']


def _start(path: Path, store: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(path),
        env=environment(store),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def _parts(store: Path) -> int:
    return len(list(store.glob("runs/*/parts/*.npz")))


@pytest.mark.slow
def test_kill_9_loses_only_the_visit_in_flight_and_leaves_no_worker(
    suite: Callable[..., Path], run_suite: SuiteRunner, tmp_path: Path
) -> None:
    # given a run of four visits, killed once one or more are finished
    store = tmp_path / "store"
    path = suite(*EAGER, rounds=2)
    process = _start(path, store)
    _wait_for(lambda: _parts(store) >= 1 and _is_working(process))
    workers = psutil.Process(process.pid).children(recursive=True)
    finished = _parts(store)
    # when
    process.kill()
    process.wait()
    # then
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert alive == []
    interrupted = Store(store).find("latest")
    assert sum(len(case.rounds) for case in interrupted.record.cases) >= finished

    # and when it is resumed
    ran = run_suite("--resume", "latest", store=store)
    # then it is complete, and says that it was resumed
    assert ran.status == 0, ran.err
    assert ran.run.resumed
    assert ran.run.record.status == "finished"
    assert [len(case.rounds) for case in ran.run.record.cases] == [2, 2]
    assert all(case.figures for case in ran.run.record.cases)


def _is_working(process: subprocess.Popen[Any]) -> bool:
    return bool(_workers(process))


def _workers(process: subprocess.Popen[Any]) -> list[psutil.Process]:
    """The run's children, without the one that samples the machine."""
    children = psutil.Process(process.pid).children()
    return [c for c in children if "harness.engine.worker" in " ".join(_command(c))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(
    suite: Callable[..., Path], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    process = subprocess.Popen(
        command(suite(*EAGER, rounds=2)),
        env=environment(store),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for(lambda: _parts(store) >= 1 and bool(_workers(process)))
    workers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "harness run --resume" in err
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert alive == []
    run = Store(store).find("latest")
    assert run.record.status == "interrupted"
    assert any(case.figures for case in run.record.cases)


@pytest.mark.slow
def test_a_worker_killed_from_outside_is_a_failed_case(
    suite: Callable[..., Path], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    process = _start(suite('name = "faulty"\nhow = "hang"\nthreads = 1'), store)
    _wait_for(lambda: bool(list(store.glob("runs/*/logs/*"))) and _hangs(process))
    _workers(process)[0].kill()
    assert process.wait(timeout=30) == 3
    failure = Store(store).find("latest").record.cases[0].failure
    assert failure is not None
    assert failure.signal == "SIGKILL"
    assert failure.phase == "load"


def _hangs(process: subprocess.Popen[bytes]) -> bool:
    """The case's worker is past its start-up: it sleeps, and has used no CPU for a while."""
    workers = _workers(process)
    if not workers or "reference" in " ".join(workers[0].cmdline()):
        return False
    before = workers[0].cpu_times().user
    time.sleep(1.0)
    return workers[0].is_running() and workers[0].cpu_times().user == before > 0.5
