"""Given a case that breaks down, when its suite runs, then it has failed and all others go on."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.profiling import pyspy
from tests.harness.engine.conftest import Ran, SuiteRunner

HONEST = 'name = "eager"\nthreads = 1'


def _faulty(how: str, when: str = "load", after: int = 0) -> str:
    return f'name = "faulty"\nhow = "{how}"\nwhen = "{when}"\nafter = {after}\nthreads = 1'


# how, when -> phase, reason, signal
BREAKDOWNS = {
    ("raise", "prepare"): ("prepare", "ValueError: a declared breakdown", None),
    ("kill", "load"): ("load", "killed by SIGKILL", "SIGKILL"),
    ("segfault", "decode"): ("verify", "killed by SIGSEGV", "SIGSEGV"),
    ("garble", "load"): ("load", "printed garbage on its event pipe", None),
    ("exit", "prepare"): ("prepare", "ended with status 0 and no result", None),
    ("hang", "load"): ("load", "nothing was heard of it for 15 s", None),
}


@pytest.fixture(scope="module")
def broken(run_suite_once: SuiteRunner, write_suite: Callable[..., Path]) -> Ran:
    """One suite in which each case but one breaks down in its own way."""
    tables = [_faulty(how, when) for how, when in BREAKDOWNS]
    return run_suite_once(write_suite(*tables, HONEST, time_limit=15))


@pytest.mark.slow
@pytest.mark.parametrize(("how", "when"), BREAKDOWNS)
def test_a_breakdown_is_named_with_its_phase_and_signal(broken: Ran, how: str, when: str) -> None:
    phase, reason, signal = BREAKDOWNS[how, when]
    case = next(
        c
        for c in broken.run.record.cases
        if (c.backend_options.get("how"), c.backend_options.get("when")) == (how, when)
    )
    assert case.status == "failed"
    assert case.figures == []
    assert case.failure is not None
    assert case.failure.phase == phase
    assert reason in case.failure.reason
    assert case.failure.signal == signal


@pytest.mark.slow
def test_cases_that_break_down_harm_no_other(broken: Ran) -> None:
    assert broken.status == 3
    honest = next(c for c in broken.run.record.cases if c.backend == "eager")
    assert honest.status == "done"
    assert honest.figures


@pytest.mark.slow
def test_a_hung_worker_leaves_its_stacks_in_the_log(broken: Ran) -> None:
    hung = next(c for c in broken.run.record.cases if c.backend_options.get("how") == "hang")
    assert hung.failure is not None
    assert "faults.py" in hung.failure.log_tail


@pytest.mark.skipif(pyspy.why_not() is not None, reason=str(pyspy.why_not()))
def test_the_reason_of_a_hung_worker_says_where_its_main_thread_stands(broken: Ran) -> None:
    hung = next(c for c in broken.run.record.cases if c.backend_options.get("how") == "hang")
    assert hung.failure is not None
    if "py-spy: " in hung.failure.log_tail:
        pytest.skip("py-spy may not trace here")
    assert re.match(r"hung in \S+ \(\S*faults\.py:\d+\): nothing was heard", hung.failure.reason)


@pytest.mark.slow
def test_a_round_that_is_lost_leaves_the_other_rounds_figures_and_a_caution(
    suite: Callable[..., Path], run_suite: SuiteRunner, tmp_path: Path
) -> None:
    # given a backend that breaks down in the second worker alone
    flags = tmp_path / "flags"
    flags.mkdir()
    ran = run_suite(suite(_faulty("raise", "prepare") + f'\nonly = 1\nflags = "{flags}"', rounds=3))
    case = ran.run.record.cases[0]
    assert ran.status == 0, ran.err
    assert [r.status for r in case.rounds] == ["done", "failed", "done"]
    assert case.figures
    assert any(c.kind == "round-lost" for c in case.cautions)


@pytest.mark.slow
def test_a_case_that_failed_at_first_is_not_tried_again(
    suite: Callable[..., Path], run_suite: SuiteRunner
) -> None:
    ran = run_suite(suite(_faulty("raise"), rounds=3))
    assert len(ran.run.record.cases[0].rounds) == 1


CHEATS = ("host-copy-left-out", "first-token-cached", "result-before-computed", "rows-swapped")


@pytest.mark.slow
def test_backends_that_cheat_have_no_speed(
    suite: Callable[..., Path], run_suite: SuiteRunner
) -> None:
    path = suite(*(f'name = "{cheat}"\nthreads = 1' for cheat in CHEATS))
    text = path.read_text().replace('name = "latency"', 'name = "throughput"\nbatch = [2]')
    text = text.replace("prompt_tokens = 8", "prompt_tokens = 200")
    path.write_text(text.replace('name = "tiny"', 'name = "small"'))
    ran = run_suite(path)
    assert ran.status == 3
    assert {c.backend for c in ran.run.record.cases} == set(CHEATS)
    for case in ran.run.record.cases:
        assert case.status in ("incorrect", "failed"), case.backend
        assert case.figures == []
