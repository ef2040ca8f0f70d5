"""Given a case that breaks down, when its suite runs, then it has failed and all others go on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.engine.conftest import SuiteRunner

HONEST = 'name = "eager"\nthreads = 1'


def _faulty(how: str, when: str = "load", after: int = 0) -> str:
    return f'name = "faulty"\nhow = "{how}"\nwhen = "{when}"\nafter = {after}\nthreads = 1'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "when", "phase", "reason", "signal"),
    [
        ("raise", "prepare", "prepare", "ValueError: a declared breakdown", None),
        ("kill", "load", "load", "killed by SIGKILL", "SIGKILL"),
        ("segfault", "decode", "verify", "killed by SIGSEGV", "SIGSEGV"),
        ("garble", "load", "load", "printed garbage on its event pipe", None),
        ("exit", "prepare", "prepare", "ended with status 0 and no result", None),
        ("hang", "load", "load", "hung: nothing was heard of it for 8 s", None),
    ],
)
def test_a_breakdown_is_named_and_harms_no_other_case(
    suite: Callable[..., Path],
    run_suite: SuiteRunner,
    how: str,
    when: str,
    phase: str,
    reason: str,
    signal: str | None,
) -> None:
    limit = 8 if how == "hang" else 60
    ran = run_suite(suite(_faulty(how, when), HONEST, time_limit=limit))
    assert ran.status == 3, ran.err
    by_backend = {case.backend: case for case in ran.run.record.cases}
    failure = by_backend["faulty"].failure
    assert by_backend["faulty"].status == "failed"
    assert by_backend["faulty"].figures == []
    assert failure is not None
    assert failure.phase == phase
    assert reason in failure.reason
    assert failure.signal == signal
    assert by_backend["eager"].status == "done"


@pytest.mark.slow
def test_a_hung_worker_leaves_its_stacks_in_the_log(
    suite: Callable[..., Path], run_suite: SuiteRunner
) -> None:
    ran = run_suite(suite(_faulty("hang", "prepare"), time_limit=6))
    failure = ran.run.record.cases[0].failure
    assert failure is not None
    assert "faults.py" in failure.log_tail


@pytest.mark.slow
def test_a_round_lost_after_good_ones_leaves_figures_and_a_caution(
    suite: Callable[..., Path], run_suite: SuiteRunner, tmp_path: Path
) -> None:
    # given: round 1 does well since the file is there; it is gone for the first visit of round 2
    flag = tmp_path / "flag"
    flag.touch()
    table = _faulty("kill", "decode", after=30) + f'\nonce = "{flag}"'
    first = run_suite(suite(table, rounds=1))
    assert first.status == 0, first.err
    flag.unlink()
    # when
    ran = run_suite(suite(table, rounds=2))
    # then: the first visit broke down, so the case was given up
    case = ran.run.record.cases[0]
    assert case.status == "failed"
    assert len(case.rounds) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "cheat",
    ["host-copy-left-out", "first-token-cached", "result-before-computed", "rows-swapped"],
)
def test_a_backend_that_cheats_has_no_speed(
    suite: Callable[..., Path], run_suite: SuiteRunner, cheat: str
) -> None:
    path = suite(f'name = "{cheat}"\nthreads = 1')
    text = path.read_text().replace('name = "latency"', 'name = "throughput"\nbatch = [2]')
    path.write_text(text.replace("prompt_tokens = 8", "prompt_tokens = 200"))
    path.write_text(path.read_text().replace('name = "tiny"', 'name = "small"'))
    ran = run_suite(path)
    assert ran.status == 3
    case = ran.run.record.cases[0]
    assert case.status in ("incorrect", "failed")
    assert case.figures == []
