"""Given a suite, when it runs, then its record holds checked figures with spread and ceiling."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import harness
from tests.harness.engine.conftest import Ran, SuiteRunner, record_of

EAGER = 'name = "eager"\nthreads = 1'


@pytest.fixture(scope="module")
def ran(write_suite: Callable[..., Path], run_suite_once: SuiteRunner) -> Ran:
    return run_suite_once(write_suite(EAGER, rounds=2), "--json")


@pytest.mark.slow
def test_a_run_holds_all_that_makes_a_figure_trustworthy(ran: Ran) -> None:
    assert ran.status == 0, ran.err
    # nothing but JSON on stdout, and what is printed is what is stored
    printed = record_of(ran.out)
    stored = json.loads((ran.run.path / "run.json").read_text())
    assert printed == stored
    case = ran.run.record.cases[0]
    figures = {(f.metric, f.statistic): f for f in case.figures}
    # spread between processes
    itl = figures["itl_ms", "p50"]
    assert itl.reading.value is not None
    assert itl.reading.value > 0
    assert itl.reading.processes == 2
    assert itl.reading.low is not None
    # the ceiling measured in the same processes
    assert itl.utilization is not None
    assert itl.utilization.name == "MBU"
    assert figures["ttft_ms", "p50"].utilization is not None
    # a tail without the samples for it is absent with the reason
    assert figures["ttft_ms", "p99"].reading.value is None
    assert "368" in str(figures["ttft_ms", "p99"].reading.reason)
    # checked before and after
    for record in case.rounds:
        assert record.check is not None
        assert record.check.passed
        assert record.audit is not None
        assert record.audit.passed
        assert record.observer_ns is not None
        assert {p.name for p in record.phases} >= {
            "import", "load", "prepare", "verify", "measure", "audit", "ceilings", "close",
        }  # fmt: skip
    # definitions travel with it
    assert ran.run.record.metric("itl_ms").definition
    # and pandas opens it with one call
    samples = harness.load_run(ran.run.path).samples
    assert set(samples["phase"]) <= {"warmup", "measure"}
    assert len(samples[samples["metric"] == "itl_ms"]) >= 2 * 2 * 3


@pytest.mark.slow
def test_dry_run_starts_nothing(suite: Callable[..., Path], run_suite: SuiteRunner) -> None:
    ran = run_suite(suite(EAGER, rounds=2), "--dry-run", "--json")
    assert ran.status == 0, ran.err
    assert len(record_of(ran.out)["cases"]) == 1  # type: ignore[arg-type]
    assert not ran.store.exists()
