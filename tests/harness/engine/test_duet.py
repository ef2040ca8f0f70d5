"""Two sides in turn: who runs when, what is kept, and what becomes of a side that fails."""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import harness.engine.duet
import harness.testing.faults
from harness.engine.duet import DuetPlan
from harness.engine.side import Side
from harness.engine.spawn import Ended, LiveWorker
from harness.errors import InputError
from harness.gate.ab import Ab, AbResult, run_ab
from harness.gate.judge import Rules
from harness.plugins import add_file
from harness.store import Store

Play = Callable[..., AbResult]

FAULTS = Path(harness.testing.faults.__file__)


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory, write_suite: Callable[..., Path]) -> Play:
    """Play one round of a duet on the tiny model; keywords are settings of the candidate."""
    store = Store(tmp_path_factory.mktemp("duet") / "store")
    add_file(FAULTS)

    def one(backend: str = 'name = "eager"\nthreads = 1', **settings: Any) -> AbResult:
        sides = (
            Side("base", "base", plugin_files=(FAULTS,)),
            Side("cand", "cand", plugin_files=(FAULTS,), settings=settings),
        )
        plan = DuetPlan(rounds=1, blocks=4, block_seconds=0.02)
        ab = Ab(write_suite(backend), sides, lambda _: Rules(), plan)
        return run_ab(store, ab, told=lambda *_: None)

    return one


def blocks_of(result: AbResult) -> list[tuple[str, Any]]:
    found = [
        (name, block)
        for name, run in zip(("base", "cand"), result.runs, strict=True)
        for block in run.record.cases[0].rounds[0].blocks
    ]
    return sorted(found, key=lambda entry: entry[1].start_ns)


@pytest.fixture(scope="module")
def alike(play: Play) -> AbResult:
    return play()


@pytest.mark.slow
def test_blocks_take_turns_abba_and_never_overlap(alike: AbResult) -> None:
    blocks = blocks_of(alike)

    names = [name for name, _ in blocks]
    assert names == ["base", "cand", "cand", "base"] * 2
    assert [block.place for _, block in blocks] == list(range(8))
    for (_, one), (_, other) in itertools.pairwise(blocks):
        assert one.end_ns <= other.start_ns


@pytest.mark.slow
def test_both_sides_are_kept_as_runs_that_know_each_other(alike: AbResult) -> None:
    base, cand = (run.record for run in alike.runs)

    assert base.duet is not None
    assert cand.duet is not None
    assert (base.duet.partner, cand.duet.partner) == (cand.id, base.id)
    assert (base.duet.side, cand.duet.side) == ("base", "cand")
    assert base.duet.interleaved == "generations"
    assert [r.status for r in (*base.cases[0].rounds, *cand.cases[0].rounds)] == ["done", "done"]
    assert cand.cases[0].figures


@pytest.mark.slow
def test_the_state_of_the_machine_is_probed_beside_each_block(alike: AbResult) -> None:
    for _, block in blocks_of(alike):
        assert block.probe_before > 1e8
        assert block.probe_after > 1e8


@pytest.mark.slow
def test_samples_of_a_block_are_those_made_during_it(alike: AbResult) -> None:
    run = alike.runs[0]
    blocks = run.record.cases[0].rounds[0].blocks
    samples = run.samples
    measured = samples[(samples["phase"] == "measure") & (samples["metric"] == "ttft_ms")]

    assert sum(block.iterations for block in blocks) == len(measured)
    assert min(measured["iteration"]) == blocks[0].first_iteration


@pytest.mark.slow
def test_a_side_that_breaks_down_has_no_figure_and_the_other_one_ends(play: Play) -> None:
    sound = 'name = "faulty"\nthreads = 1\nwhen = "decode"\nafter = 1000000'

    result = play(sound, **{"faulty.after": 50})

    base, cand = (run.record.cases[0] for run in result.runs)
    assert (base.status, cand.status) == ("done", "failed")
    assert cand.failure is not None
    assert "a declared breakdown" in cand.failure.reason
    assert result.judgement.exit_status() == 3


@pytest.mark.slow
def test_where_memory_does_not_hold_both_whole_processes_take_turns(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness.engine.duet, "why_not_both", lambda _: "since both take 9 GiB")

    result = play()

    duet = result.runs[0].record.duet
    assert duet is not None
    assert (duet.interleaved, duet.because) == ("processes", "since both take 9 GiB")
    assert "whole processes in turn, since both take 9 GiB" in result.judgement.method
    assert all(run.record.cases[0].status == "done" for run in result.runs)


@pytest.mark.slow
def test_two_sides_that_do_other_work_are_bad_input(play: Play) -> None:
    with pytest.raises(InputError, match="expected the same work on both sides"):
        play(**{"scenario.new_tokens": 5})


@pytest.fixture
def spinning(tmp_path: Path) -> Iterator[LiveWorker]:
    """A worker that never rests by itself."""
    process = subprocess.Popen(
        [sys.executable, "-c", "while True: pass"], start_new_session=True, cwd=tmp_path
    )
    yield LiveWorker(process, 0, 0, tmp_path / "log", 1.0, lambda _: None)
    process.kill()
    process.wait()


def test_a_frozen_worker_takes_no_time_and_goes_on_when_thawed(spinning: LiveWorker) -> None:
    seen = psutil.Process(spinning._process.pid)

    spinning.freeze()
    before = seen.cpu_times().user
    time.sleep(0.1)
    assert seen.status() == psutil.STATUS_STOPPED
    assert seen.cpu_times().user == before

    spinning.thaw()
    assert seen.status() != psutil.STATUS_STOPPED


def test_freezing_a_worker_that_died_is_harmless(spinning: LiveWorker) -> None:
    spinning._process.kill()
    spinning._process.wait()

    spinning.ended = Ended(1, None, None)
    spinning.freeze()
