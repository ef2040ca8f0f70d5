"""Given a suite, when it runs, then the machine was watched and disturbances are dealt with."""

import contextlib
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pandas as pd
import psutil
import pytest

import harness
import harness.testing.throttled
from harness.store import Run
from harness.store.record import PointRecord
from harness.testing.throttled import PERIOD_NS, THROTTLED_NS
from tests.harness.engine.conftest import HARNESS, Ran, SuiteRunner, environment, record_of

pytestmark = pytest.mark.slow

EAGER = 'name = "eager"\nthreads = 1'
THROTTLED = 'name = "throttled"\nthreads = 1'
PLUGIN = f"--plugin={harness.testing.throttled.__file__}"
TICK_NS = 20_000_000
# 80 iterations of 16 ms or more, that no precision ends early: even half of them, where the rest is
# called warm-up, last longer than the time between two throttlings.
A_WHOLE_PERIOD = (
    "--set=run.max_seconds=4",
    "--set=run.max_samples=80",
    "--set=run.target=1e-6",
)


@pytest.fixture(scope="module")
def watched(write_suite: Callable[..., Path], run_suite_once: SuiteRunner) -> Ran:
    """A run of two rounds, in which throttled iterations are discarded."""
    settings = [
        "telemetry.hz=50", "telemetry.on_disturbance=discard", "telemetry.keep=0.3",
        "telemetry.idle_seconds=0.3",
    ]  # fmt: skip
    return run_suite_once(
        write_suite(THROTTLED, rounds=2), "--json", PLUGIN,
        *(f"--set={s}" for s in settings), *A_WHOLE_PERIOD,
    )  # fmt: skip


@pytest.fixture
def store(watched: Ran, tmp_path: Path) -> Path:
    """A store of its own that has the reference already: computing it takes longer than the run."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "cache").symlink_to(watched.store / "cache")
    return tmp_path / "store"


@pytest.fixture(scope="module")
def points(watched: Ran) -> list[PointRecord]:
    return [r.points[0] for r in watched.run.record.cases[0].rounds]


def test_a_run_says_what_watched_it_and_what_it_could_not_read(watched: Ran) -> None:
    assert watched.status == 0, watched.err
    (process,) = watched.run.record.telemetry
    found = {s.name: s for s in process.samplers}

    assert process.problem is None
    assert process.priority
    assert process.ticks is not None
    assert process.ticks > 50
    assert found["host"].ok
    assert found["throttled_sensors"].absent == {"GPU-made-up energy_j": "no such counter"}
    assert found["throttled_sensors"].facts == {"driver": "made up"}


def test_the_idle_machine_was_watched_first_since_power_is_measured(watched: Ran) -> None:
    idle = watched.run.record.telemetry[0].idle
    assert idle is not None
    power = next(q for q in idle.quantities if q.quantity == "power_w")

    assert power.mean is not None
    assert 220 <= power.mean <= 300
    assert idle.seconds == pytest.approx(0.3, abs=0.2)


def test_each_phase_has_the_workers_use_with_its_bound(watched: Ran) -> None:
    phases = {p.phase: p for p in watched.run.record.cases[0].telemetry}
    assert {"load", "verify", "measure"} <= set(phases)
    assert "ceilings" not in phases  # no figure comes from it: telemetry.parquet has it
    measure = phases["measure"]
    found = {(q.device, q.quantity): q for q in measure.quantities}

    assert measure.rounds == 2
    assert measure.rate_hz > 25
    cpu = found["worker", "cpu_s"]
    assert cpu.total is not None
    assert cpu.bound is not None
    assert 0 < cpu.total < measure.seconds * 2
    assert cpu.bound < 0.2
    # what only a boundary reads is exact, since the worker stands still there
    proportional = found["worker", "pss_bytes"]
    assert proportional.mean is not None
    assert proportional.mean > 50e6


def test_the_last_phase_is_watched_to_its_end(watched: Ran) -> None:
    readings = watched.run.telemetry
    for record in watched.run.record.cases[0].rounds:
        last = record.phases[-1]
        mine = readings[(readings["round"] == record.round) & (readings["phase"] == last.name)]
        used = mine[(mine["device"] == "worker") & (mine["quantity"] == "cpu_s")]
        assert last.name == "ceilings"
        assert used["value"].max() > used["value"].min()
        assert last.end_ns - used["time_ns"].max() < 10 * TICK_NS


def test_pandas_opens_the_readings_with_one_call(watched: Ran) -> None:
    frame = harness.load_run(watched.run.path).telemetry

    assert set(frame["round"]) == {0, 1}
    assert {"measure", "load", "idle"} <= set(frame["phase"])
    absent = frame[frame["value"].isna()]
    assert absent["reason"].notna().all()
    assert frame[frame["value"].notna()]["reason"].isna().all()
    # and each reading lies in the phase that it is said to
    for record in watched.run.record.cases[0].rounds:
        mine = frame[(frame["round"] == record.round) & (frame["phase"] == "measure")]
        phase = next(p for p in record.phases if p.name == "measure")
        assert mine["time_ns"].between(phase.start_ns, phase.end_ns).all()


def test_only_iterations_that_something_disturbed_are_dropped(
    watched: Ran, points: list[PointRecord]
) -> None:
    readings = watched.run.telemetry
    load = readings[readings["quantity"] == "others_busy_s"]
    samples = watched.run.samples
    for number, point in enumerate(points):
        mine = samples[(samples["round"] == number) & (samples["phase"] == "disturbed")]
        dropped = set(mine["iteration"])
        assert len(dropped) == point.dropped > 0
        assert point.measured_iterations - point.dropped >= 0.3 * point.measured_iterations
        loaded = _loaded(load[load["round"] == number])
        for iteration, (start_ns, end_ns) in enumerate(pairwise(point.iterations_ns)):
            if iteration in dropped:
                assert throttled_between(start_ns - 2 * TICK_NS, end_ns + 2 * TICK_NS) or any(
                    a < end_ns and start_ns < b for a, b in loaded
                )


def _loaded(readings: pd.DataFrame) -> list[tuple[int, int]]:
    """From when to when others used a quarter of a core: this machine may be busy with more."""
    rows = list(zip(readings["time_ns"], readings["value"], strict=True))
    return [(a, b) for (a, v), (b, w) in pairwise(rows) if (w - v) / (b - a) * 1e9 > 0.25]


def throttled_between(start_ns: int, end_ns: int) -> bool:
    begins = start_ns - start_ns % PERIOD_NS + PERIOD_NS - THROTTLED_NS
    return begins < end_ns


def test_what_was_dropped_is_said_beside_the_figures(watched: Ran) -> None:
    said = {c.kind: c.message for c in watched.run.record.cases[0].cautions}

    assert "throttled (power cap)" in said["throttled"]
    assert "iterations were disturbed and are left out" in said["discarded"]


def test_figures_are_of_what_was_kept(watched: Ran, points: list[PointRecord]) -> None:
    figure = next(
        f for f in watched.run.record.cases[0].figures
        if (f.metric, f.statistic) == ("ttft_ms", "p50")
    )  # fmt: skip
    kept = sum(p.measured_iterations - p.dropped for p in points)

    assert figure.reading.n == kept


def test_a_disturbed_round_is_repeated_where_the_suite_says_so(
    suite: Callable[..., Path], run_suite: SuiteRunner, store: Path
) -> None:
    ran = run_suite(
        suite(THROTTLED), "--json", PLUGIN, "--set=telemetry.on_disturbance=retry",
        "--set=telemetry.idle_seconds=0", *A_WHOLE_PERIOD, store=store,
    )  # fmt: skip
    case = ran.run.record.cases[0]

    assert case.rounds[0].attempts == 2
    assert len(case.rounds) == 1
    assert any("measured 2 times" in c.message for c in case.cautions)
    assert set(ran.run.samples["phase"]) <= {"warmup", "measure"}


def test_a_budget_that_has_no_room_for_it_keeps_the_disturbed_attempt_and_its_caution(
    suite: Callable[..., Path], run_suite: SuiteRunner, store: Path
) -> None:
    ran = run_suite(
        suite(THROTTLED), "--json", PLUGIN, "--set=telemetry.on_disturbance=retry",
        "--set=telemetry.idle_seconds=0", "--set=run.budget=3", *A_WHOLE_PERIOD,
        store=store,
    )  # fmt: skip
    case = ran.run.record.cases[0]

    assert case.rounds[0].attempts == 1
    assert case.status == "done"
    assert any(c.kind == "throttled" for c in case.cautions)


def test_telemetry_can_be_left_out(
    suite: Callable[..., Path], run_suite: SuiteRunner, store: Path
) -> None:
    ran = run_suite(suite(EAGER), "--json", "--set=telemetry.enabled=false", store=store)

    assert ran.status == 0, ran.err
    assert record_of(ran.out)["telemetry"] == []
    assert len(ran.run.telemetry) == 0
    assert not (ran.run.path / "telemetry.parquet").exists()


def test_a_killed_sampler_costs_the_run_nothing_but_its_readings(
    suite: Callable[..., Path], store: Path
) -> None:
    process = subprocess.Popen(
        [*HARNESS, "run", str(suite(EAGER))],
        env=environment(store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    sampler = _child(process.pid, "harness.telemetry.process")
    sampler.kill()
    assert process.wait(timeout=120) == 0

    run = Run(next((store / "runs").iterdir()))
    assert all(case.status == "done" for case in run.record.cases)
    assert "SIGKILL" in str(run.record.telemetry[0].problem)
    assert any(c.kind == "not-watched" for c in run.record.cases[0].cautions)


def _child(pid: int, named: str) -> psutil.Process:
    while True:
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.Error):  # it may end while it is looked at
                if named in " ".join(child.cmdline()):
                    return child
