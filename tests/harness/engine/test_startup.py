"""A scenario that asks for a cold start gets one, once in a run, and in a cache of its own."""

from pathlib import Path

import pytest

from tests.harness.engine.conftest import SuiteRunner

SUITE = """
[run]
rounds = 2

[[model]]
name = "tiny"

[[scenario]]
name = "startup"

[[backend]]
name = "eager"
threads = 1
"""


@pytest.mark.slow
def test_the_first_round_starts_cold_and_the_next_one_warm(
    run_suite: SuiteRunner, tmp_path: Path
) -> None:
    suite = tmp_path / "suite.toml"
    suite.write_text(SUITE)

    ran = run_suite(suite)

    (case,) = ran.run.record.cases
    figures = {f.metric: f.reading for f in case.figures}
    assert case.status == "done"
    assert figures["ready_s"].n == figures["cold_ready_s"].n == 1
    assert all(r.audit is not None and r.audit.passed for r in case.rounds)
    assert not list((ran.store / "cache" / "startup").iterdir())
